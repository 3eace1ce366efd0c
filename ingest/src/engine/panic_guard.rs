//! A thread or task that ends by a fault of its own says so in `/readyz`: nothing else would be seen of it.
//!
//! The rest goes on: a pipeline that has ended keeps nobody from taking uplinks in, and its journal is derived after
//! the restart.

use std::sync::Arc;

use telemetry::text::say;

use crate::engine::health::{Health, Part};

/// Held by a thread or task for as long as it works.
pub(crate) struct PanicGuard {
    health: Arc<Health>,
    part: Part,
    name: String,
}

impl PanicGuard {
    /// Makes the guard of what works under `name`; of a kind that readiness names `part`.
    pub(crate) fn new(health: &Arc<Health>, part: Part, name: impl Into<String>) -> Self {
        Self { health: Arc::clone(health), part, name: name.into() }
    }

    /// Guards a thread.
    pub(crate) fn hold(self, work: impl FnOnce()) {
        work();
        drop(self);
    }

    /// Guards a task.
    pub(crate) async fn watch<T>(self, work: impl Future<Output = T>) -> T {
        let done = work.await;
        drop(self);
        done
    }
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let message = say("ingest.ended", &[("name", &self.name)]);
            let remedy = say("ingest.ended.remedy", &[]);
            self.health.report(self.part, &format!("{} (ended)", self.name), message, remedy);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees: readiness names a thread and a task that panicked, and no other.
    #[tokio::test]
    async fn what_panics_is_named() {
        let health = Arc::new(Health::default());
        let guard = |name: &str| PanicGuard::new(&health, Part::Journal, name);
        let (thread, task, good) = (guard("thread"), guard("task"), guard("good"));
        let thread = std::thread::spawn(move || thread.hold(|| panic!("as the test wants")));
        assert!(thread.join().is_err());
        let task = tokio::spawn(task.watch(async {
            tokio::task::yield_now().await;
            panic!("as the test wants");
        }));
        assert!(task.await.is_err());
        tokio::spawn(good.watch(async {})).await.unwrap();
        let names: Vec<String> = health.troubles().into_iter().map(|(_, name, _)| name).collect();
        assert_eq!(names, ["task (ended)", "thread (ended)"]);
    }
}
