//! Where templates are checked and rendered: a few threads of their own, away from the watch and from every mailbox.
//!
//! What a template costs is bounded by the work that it may do, and the stack that it needs by the bounds on its text. Both bounds belong
//! to [`crate::spec::template`]. What is left, some milliseconds of a processor, is shared out here: namespaces take turns, and each has
//! one job under way at most.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, ActorStatus, SpawnErr};
use tokio::sync::oneshot;

use crate::spec::template::STACK_SIZE;

/// How many threads there are.
const THREADS: usize = 2;

type Job = Box<dyn FnOnce() + Send>;

/// A handle on the renderer.
#[derive(Clone, Debug)]
pub struct Renderer(Option<ActorRef<RendererMessage>>);

/// The work came to no end: it panicked, or the operator is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the work was not finished")]
pub struct Unfinished;

impl Renderer {
    /// Starts one. Whoever owns it links it to itself, so that it ends with its owner.
    ///
    /// # Errors
    /// When the actor or its threads cannot be started.
    pub async fn start() -> Result<Self, SpawnErr> {
        let (actor, _) = Actor::spawn(None, RendererActor, ()).await?;
        Ok(Self(Some(actor)))
    }

    /// One that does the work where it is asked for. For a life in virtual time, in which no thread may work beside the clock.
    #[must_use]
    pub fn inline() -> Self {
        Self(None)
    }

    /// Does some work for a namespace on one of the threads. Whoever stops waiting before its turn has come costs nothing.
    ///
    /// # Errors
    /// [`Unfinished`].
    pub async fn run<T: Send + 'static>(
        &self,
        namespace: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unfinished> {
        let Some(actor) = &self.0 else {
            return Ok(work());
        };
        let (answer, result) = oneshot::channel();
        let job = Box::new(move || {
            if !answer.is_closed() {
                let _ = answer.send(work());
            }
        });
        let run = RendererMessage::Run(namespace.to_owned(), job);
        actor.cast(run).map_err(|_| Unfinished)?;
        result.await.map_err(|_| Unfinished)
    }

    /// Whether it has ended, as it does when the operator stops.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        let ended = |actor: &ActorRef<RendererMessage>| actor.get_status() >= ActorStatus::Stopping;
        self.0.as_ref().is_some_and(ended)
    }

    /// The actor behind it, if there is one.
    #[must_use]
    pub fn cell(&self) -> Option<ActorCell> {
        self.0.as_ref().map(ActorRef::get_cell)
    }
}

/// The messages of the renderer.
pub enum RendererMessage {
    /// There is work for a namespace.
    Run(String, Job),
    /// A thread has finished the work for that namespace.
    Done(usize, String),
}

/// The renderer's code. Its data is in [`RendererState`].
#[derive(Clone, Copy, Debug)]
pub struct RendererActor;

/// The data of the renderer.
pub struct RendererState {
    threads: Vec<mpsc::Sender<(String, Job)>>,
    idle: Vec<usize>,
    /// The namespaces whose turn it may be: those that have work waiting, and none under way.
    order: VecDeque<String>,
    /// The work that waits. A namespace with work under way is there too.
    waiting: HashMap<String, VecDeque<Job>>,
}

impl Actor for RendererActor {
    type Msg = RendererMessage;
    type State = RendererState;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<RendererMessage>, (): ()) -> Result<RendererState, ActorProcessingErr> {
        let mut threads = Vec::new();
        for number in 0..THREADS {
            threads.push(start_thread(number, myself.clone())?);
        }
        Ok(RendererState {
            threads,
            idle: (0..THREADS).collect(),
            order: VecDeque::new(),
            waiting: HashMap::new(),
        })
    }

    async fn handle(
        &self,
        _: ActorRef<RendererMessage>,
        message: RendererMessage,
        state: &mut RendererState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            RendererMessage::Run(namespace, job) => {
                let known = state.waiting.contains_key(&namespace);
                if !known {
                    state.order.push_back(namespace.clone());
                }
                state.waiting.entry(namespace).or_default().push_back(job);
            }
            RendererMessage::Done(thread, namespace) => {
                state.idle.push(thread);
                match state.waiting.get(&namespace) {
                    Some(jobs) if !jobs.is_empty() => state.order.push_back(namespace),
                    _ => {
                        state.waiting.remove(&namespace);
                    }
                }
            }
        }
        state.hand_out()
    }
}

impl RendererState {
    fn hand_out(&mut self) -> Result<(), ActorProcessingErr> {
        while !self.idle.is_empty()
            && let Some(namespace) = self.order.pop_front()
        {
            let Some(job) = self.waiting.get_mut(&namespace).and_then(VecDeque::pop_front) else {
                continue;
            };
            if let Some(thread) = self.idle.pop() {
                self.threads[thread].send((namespace, job)).map_err(|_| Unfinished)?;
            }
        }
        Ok(())
    }
}

/// Starts a thread that works until the renderer is gone.
fn start_thread(
    number: usize,
    renderer: ActorRef<RendererMessage>,
) -> Result<mpsc::Sender<(String, Job)>, std::io::Error> {
    let (sender, jobs) = mpsc::channel::<(String, Job)>();
    thread::Builder::new()
        .name(format!("renderer-{number}"))
        .stack_size(STACK_SIZE)
        .spawn(move || {
            for (namespace, job) in jobs {
                // Whoever waits for it learns that there is no answer.
                let _ = catch_unwind(AssertUnwindSafe(job));
                if renderer.cast(RendererMessage::Done(number, namespace)).is_err() {
                    return;
                }
            }
        })?;
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    #[tokio::test]
    async fn namespaces_take_turns() {
        let renderer = Renderer::start().await.unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        // Both threads are busy until the receivers are gone, so that the rest has to wait.
        let mut busy = Vec::new();
        let mut held = Vec::new();
        for namespace in ["x", "y"] {
            let (hold, held_until) = mpsc::channel::<()>();
            held.push(hold);
            let renderer = renderer.clone();
            busy.push(tokio::spawn(async move {
                renderer
                    .run(namespace, move || {
                        let _ = held_until.recv();
                    })
                    .await
            }));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        let mut tasks = Vec::new();
        for (namespace, name) in [("many", "1"), ("many", "2"), ("many", "3"), ("few", "4")] {
            let (renderer, order) = (renderer.clone(), order.clone());
            tasks.push(tokio::spawn(async move {
                renderer.run(namespace, move || order.lock().unwrap().push(name)).await
            }));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // One thread is enough for the rest.
        held.pop();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        held.clear();
        for task in busy {
            task.await.unwrap().unwrap();
        }
        assert_eq!(*order.lock().unwrap(), ["1", "4", "2", "3"]);
    }

    #[tokio::test]
    async fn work_that_panics_takes_no_thread_with_it() {
        let renderer = Renderer::start().await.unwrap();
        for _ in 0..THREADS * 2 {
            let result: Result<(), Unfinished> = renderer.run("team", || std::panic::panic_any("planted")).await;
            assert_eq!(result, Err(Unfinished));
        }
        assert_eq!(renderer.run("team", || 7).await, Ok(7));
    }
}
