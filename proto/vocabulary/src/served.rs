//! How well an instance answers.

use serde::{Deserialize, Serialize};

/// What an instance answered, by its own request log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Served {
    /// Requests that were answered.
    pub requests: u32,
    /// Those of them with status 500 or above.
    pub errors: u32,
}

impl Served {
    /// A few errors say nothing: a request may meet a connection that was cut.
    const FEW: u32 = 2;
    /// By how many of a hundred requests the share of errors may grow.
    const PERCENT: u128 = 1;

    /// Whether nothing was seen.
    pub fn is_nothing(&self) -> bool {
        self.requests == 0
    }
    /// Whether errors have become more frequent than they were: more than two, and a share of the requests that is more than
    /// one in a hundred above that of `before`. No requests before count as none that failed.
    pub fn worse_than(&self, before: &Self) -> bool {
        let (errors, requests) = (u128::from(self.errors), u128::from(self.requests));
        let (errors_before, requests_before) = (u128::from(before.errors), u128::from(before.requests.max(1)));
        self.errors > Self::FEW
            && errors * requests_before * 100 > requests * (errors_before * 100 + requests_before * Self::PERCENT)
    }
}

impl std::fmt::Display for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} requests with a status of 500 or above", self.errors, self.requests)
    }
}

#[cfg(test)]
mod tests {
    use super::Served;

    fn grew(before: (u32, u32), now: (u32, u32)) -> bool {
        let served = |(errors, requests)| Served { requests, errors };
        served(now).worse_than(&served(before))
    }

    #[test]
    fn errors_have_grown_when_more_than_two_are_a_share_of_more_than_one_in_a_hundred_above_the_former() {
        assert!(!grew((0, 1000), (2, 10)), "two say nothing");
        assert!(grew((0, 1000), (3, 10)));
        assert!(!grew((0, 1000), (3, 300)), "one in a hundred is borne");
        assert!(grew((0, 1000), (4, 300)));
    }

    #[test]
    fn an_instance_that_failed_as_often_before_is_no_worse() {
        assert!(!grew((50, 1000), (6, 100)));
        assert!(grew((50, 1000), (7, 100)));
        assert!(!grew((1000, 1000), (100, 100)));
    }

    #[test]
    fn an_instance_that_nobody_asked_before_is_taken_for_one_that_never_failed() {
        assert!(grew((0, 0), (3, 100)));
        assert!(!grew((0, 0), (0, 0)));
    }

    #[test]
    fn counts_of_any_size_are_compared() {
        assert!(!grew((u32::MAX, u32::MAX), (u32::MAX, u32::MAX)));
        assert!(grew((0, u32::MAX), (u32::MAX, u32::MAX)));
    }
}
