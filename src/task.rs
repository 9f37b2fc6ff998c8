//! A task with an owner: it ends when the owner lets go of it.

use tokio::task::JoinHandle;

/// A running task. Dropping it aborts it at its next await.
#[derive(Debug)]
pub struct Task(JoinHandle<()>);

impl Task {
    /// Starts a task on the runtime that runs the caller.
    #[must_use]
    pub fn spawn(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }

    /// Aborts it and waits until it has let go of everything it held. Dropping it only asks for that.
    pub async fn end(mut self) {
        self.0.abort();
        // Aborted, done before, or panicked: it has ended.
        let _ = (&mut self.0).await;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// A task that holds something, and never lets go of it by itself.
    async fn holding(held: &Arc<()>) -> Task {
        let inside = held.clone();
        let task = Task::spawn(async move {
            let _inside = inside;
            std::future::pending::<()>().await;
        });
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(held), 2);
        task
    }

    #[tokio::test]
    async fn a_task_ends_with_its_owner() {
        let held = Arc::new(());
        drop(holding(&held).await);
        while Arc::strong_count(&held) > 1 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_task_that_was_ended_holds_nothing() {
        let held = Arc::new(());
        holding(&held).await.end().await;
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
