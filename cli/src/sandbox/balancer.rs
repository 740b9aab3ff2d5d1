//! A load balancer's stand-in: clients go through it to every instance in turn, and to none that is out of rotation. The
//! agents' rotation commands make and remove the file that says so.

use super::hosts::Instance;
use super::http::Reply;
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The balancer of a sandbox.
#[derive(Debug)]
pub(super) struct Balancer {
    instances: Vec<Instance>,
    next: AtomicUsize,
}

/// What became of a request.
#[derive(Debug, Clone)]
pub(super) enum Routed {
    /// An instance answered.
    Answered(Reply),
    /// It was sent to an instance, and there was no whole answer.
    Unanswered,
    /// No instance is in rotation: it was sent nowhere.
    Nowhere,
}

impl Balancer {
    /// Over these instances.
    pub(super) fn over(instances: Vec<Instance>) -> Self {
        Self { instances, next: AtomicUsize::new(0) }
    }

    /// How many instances it knows.
    pub(super) fn instances(&self) -> usize {
        self.instances.len()
    }

    /// Sends a write to the next instance in rotation. Never to a second one: what the first did with it is not known.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Routed {
        let Some(instance) = self.choose() else { return Routed::Nowhere };
        match instance.ledger.post(path, body).await {
            Ok(reply) => Routed::Answered(reply),
            Err(_) => Routed::Unanswered,
        }
    }

    /// The next in turn that is in rotation.
    fn choose(&self) -> Option<&Instance> {
        let number = self.instances.len();
        let from = self.next.fetch_add(1, Ordering::Relaxed);
        (0..number)
            .filter_map(|step| self.instances.get((from + step) % number))
            .find(|instance| !instance.out.exists())
    }
}

#[cfg(test)]
mod tests {
    use super::super::http::Ledger;
    use super::*;
    use cutover_vocabulary::InstanceName;
    use std::path::Path;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// An instance that answers every request with its own name.
    async fn serving(name: &str, rotation: &Path) -> Instance {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let body = format!("\"{name}\"");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 4096]).await;
                let text =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
                let _ = stream.write_all(text.as_bytes()).await;
            }
        });
        let out = rotation.join(format!("{name}.out"));
        Instance { name: InstanceName::new(name).unwrap(), ledger: Ledger { address }, out }
    }

    async fn answered(balancer: &Balancer, requests: usize) -> Vec<String> {
        let mut names = Vec::new();
        for _ in 0..requests {
            names.push(match balancer.post("/main/transactions", &Value::Null).await {
                Routed::Answered(reply) => reply.body.as_str().unwrap().to_owned(),
                Routed::Unanswered => "nobody answered".to_owned(),
                Routed::Nowhere => "nowhere".to_owned(),
            });
        }
        names
    }

    #[tokio::test]
    async fn every_instance_has_its_turn_and_one_out_of_rotation_gets_nothing() {
        let rotation = tempfile::tempdir().unwrap();
        let mut instances = Vec::new();
        for name in ["a", "b", "c"] {
            instances.push(serving(name, rotation.path()).await);
        }
        let balancer = Balancer::over(instances);
        assert_eq!(answered(&balancer, 4).await, ["a", "b", "c", "a"]);
        std::fs::write(rotation.path().join("b.out"), "").unwrap();
        let mut seen = answered(&balancer, 12).await;
        seen.sort();
        seen.dedup();
        assert_eq!(seen, ["a", "c"]);
        for name in ["a", "c"] {
            std::fs::write(rotation.path().join(format!("{name}.out")), "").unwrap();
        }
        assert_eq!(answered(&balancer, 2).await, ["nowhere", "nowhere"]);
        std::fs::remove_file(rotation.path().join("b.out")).unwrap();
        assert_eq!(answered(&balancer, 2).await, ["b", "b"]);
    }

    #[tokio::test]
    async fn a_write_that_got_no_answer_is_sent_to_no_second_instance() {
        let rotation = tempfile::tempdir().unwrap();
        let mut dead = serving("dead", rotation.path()).await;
        // Nobody listens there, and no other test is given it.
        dead.ledger.address = "127.0.0.1:1".to_owned();
        let balancer = Balancer::over(vec![dead, serving("alive", rotation.path()).await]);
        assert_eq!(answered(&balancer, 2).await, ["nobody answered", "alive"]);
    }
}
