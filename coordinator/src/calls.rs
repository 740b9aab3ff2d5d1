//! Calls of operators: each request id stands for one question, and gets one answer.

use crate::leadership::Leadership;
use crate::registry::{Call, keys};
use cutover_proto::{Code, Refused};
use cutover_store::Revision;
use cutover_vocabulary::{Digest, RequestId};
use serde::Serialize;

impl Leadership {
    /// Whether this call came before: its answer, if it was answered. The same id with another question is refused.
    pub(crate) async fn recall(
        &self,
        request: &RequestId,
        question: &impl Serialize,
    ) -> Result<(Revision, Call), Refused> {
        let key = keys::request(request).map_err(|error| self.refuse(error.into()))?;
        let question = Digest::of_json(question);
        let (revision, call) = self.registry.read::<Call>(&key).await.map_err(|error| self.refuse(error))?;
        match call {
            Some(call) if call.question != question => Err(Refused::new(
                Code::RequestReused,
                format!("request {request} came before with another question"),
                "use a new request id for each call, and the same only to repeat one",
            )),
            Some(call) => Ok((revision, call)),
            None => Ok((revision, Call { question, answer: None })),
        }
    }

    /// Remembers a call, with its answer once there is one. The revision of what is remembered.
    pub(crate) async fn remember_call(
        &self,
        request: &RequestId,
        revision: Revision,
        call: &Call,
    ) -> Result<Revision, Refused> {
        let key = keys::request(request).map_err(|error| self.refuse(error.into()))?;
        self.registry.write(&key, revision, call).await.map_err(|error| self.refuse(error))
    }
}
