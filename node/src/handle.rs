//! The till on a thread of its own, and the handle that everything else holds.
//!
//! One owner, one queue: commands, queries, replication and printing all take their turn. What an owner does while nobody waits
//! is to tidy up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::document::Picture;
use domain::ids::PictureId;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::api::{ApiError, ApiErrorCode, Command, Event, Query, TillView};
use crate::till::{Answer, Till};

/// Requests that may wait for the till before a caller waits to ask.
const REQUESTS_MAX: usize = 256;
/// Events kept for a listener that is slow; it then learns that it missed some.
const EVENTS_MAX: usize = 256;
/// How long whoever looks for a sale that is not here waits for the server.
const ANSWER_MAX: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce(&mut Owned) + Send>;

/// The till has stopped, so nothing more can be asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the till is stopping: start it again")]
pub struct NodeStopped;

/// A handle to a running till. Clones are cheap and lead to the same till; it stops when all of them are gone.
#[derive(Debug, Clone)]
pub struct Node {
    owner: Owner,
    channels: Arc<Channels>,
}

#[derive(Debug, Clone)]
enum Owner {
    Thread(mpsc::Sender<Job>),
    Inline(Arc<Mutex<Owned>>),
}

/// The till with what it tells others about itself.
#[derive(Debug)]
struct Owned {
    till: Till,
    channels: Arc<Channels>,
}

#[derive(Debug)]
struct Channels {
    events: broadcast::Sender<Event>,
    commits: watch::Sender<u64>,
    paper: watch::Sender<u64>,
    entries: watch::Sender<i64>,
    brought: watch::Sender<u64>,
    questions: watch::Sender<u64>,
    answers: watch::Sender<u64>,
    /// Whether the replica was put aside.
    is_over: AtomicBool,
}

impl Node {
    /// Gives a till a thread of its own. The second value ends with the thread, after the last handle is gone.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(till: Till) -> std::io::Result<(Self, std::thread::JoinHandle<()>)> {
        let channels = Channels::of(&till);
        let (requests, queue) = mpsc::channel(REQUESTS_MAX);
        let owned = Owned { till, channels: channels.clone() };
        let thread = std::thread::Builder::new().name("till".to_owned()).spawn(move || serve(owned, queue))?;
        Ok((Self { owner: Owner::Thread(requests), channels }, thread))
    }

    /// Lets whoever asks do the till's work on the spot. For a simulation, whose time must not pass while a thread works.
    pub fn inline(till: Till) -> Self {
        let channels = Channels::of(&till);
        let owned = Owned { till, channels: channels.clone() };
        Self { owner: Owner::Inline(Arc::new(Mutex::new(owned))), channels }
    }

    /// Does what a person asks for. It is done even when the caller goes away meanwhile.
    ///
    /// # Errors
    /// Why it was not done.
    pub async fn command(&self, command: Command) -> Result<TillView, ApiError> {
        self.with(move |till| till.command(command)).await?
    }

    /// Looks something up. An order that is not on this till any more, or not yet, is asked for at the server.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn query(&self, query: Query) -> Result<Answer, ApiError> {
        let again = query.clone();
        match self.query_here(query).await {
            Err(error) if error.code == ApiErrorCode::NotKept => {
                let asked = again.clone();
                let receipt = self.with(move |till| till.receipt_to_ask_for(&asked)).await?.ok_or(error)?;
                self.ask(receipt).await?;
                self.query_here(again).await
            }
            answer => answer,
        }
    }

    /// Asks the server for an order, and returns when this till has been told of it.
    async fn ask(&self, receipt: String) -> Result<(), ApiError> {
        let number = self.with(move |till| till.ask_server(&receipt)).await??;
        let mut answers = self.channels.answers.subscribe();
        let answered = async {
            loop {
                if let Some(answer) = self.with(move |till| till.take_answer(number)).await? {
                    return answer;
                }
                answers.changed().await.map_err(|_| NodeStopped)?;
            }
        };
        match tokio::time::timeout(ANSWER_MAX, answered).await {
            Ok(answer) => answer,
            Err(_) => Err(self.with(move |till| till.give_up_asking(number)).await?),
        }
    }

    async fn query_here(&self, query: Query) -> Result<Answer, ApiError> {
        let look = move |till: &mut Till| match till.query(query.clone()) {
            // What failed may have been a moment, and SQLCipher gives nothing back before the file is opened anew.
            Err(error) if error.code == ApiErrorCode::Storage => {
                till.examine()?;
                till.query(query)
            }
            answer => answer,
        };
        self.with(look).await?
    }

    /// A product's picture, once it has arrived.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn picture(&self, id: PictureId) -> Result<Option<Picture>, ApiError> {
        self.with(move |till| till.picture(id)).await?
    }

    /// What happens from now on.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.channels.events.subscribe()
    }

    /// The last own commit, whenever it rises.
    pub fn log_grew(&self) -> watch::Receiver<u64> {
        self.channels.commits.subscribe()
    }

    /// The last entry of the log, own or others', whenever it rises.
    pub fn entries_grew(&self) -> watch::Receiver<i64> {
        self.channels.entries.subscribe()
    }

    /// Rises whenever another till has brought something.
    pub fn was_brought(&self) -> watch::Receiver<u64> {
        self.channels.brought.subscribe()
    }

    /// Rises whenever the server is to be asked for an order.
    pub fn asks(&self) -> watch::Receiver<u64> {
        self.channels.questions.subscribe()
    }

    /// Rises whenever there is something to print or a drawer to open.
    pub fn paper_grew(&self) -> watch::Receiver<u64> {
        self.channels.paper.subscribe()
    }

    /// Does something with the till, in its turn, and answers what came of it.
    ///
    /// # Errors
    /// When the till has stopped.
    pub async fn with<T: Send + 'static>(&self, work: impl FnOnce(&mut Till) -> T + Send + 'static) -> Result<T, NodeStopped> {
        match &self.owner {
            Owner::Inline(owned) => {
                let mut owned = owned.lock().unwrap_or_else(PoisonError::into_inner);
                let answer = work(&mut owned.till);
                owned.tell();
                owned.tidy();
                Ok(answer)
            }
            Owner::Thread(requests) => {
                let (answer, answered) = oneshot::channel();
                let job: Job = Box::new(move |owned| {
                    let result = work(&mut owned.till);
                    owned.tell();
                    let _ = answer.send(result);
                });
                requests.send(job).await.map_err(|_| NodeStopped)?;
                answered.await.map_err(|_| NodeStopped)
            }
        }
    }
}

impl Node {
    /// Whether the till's replica was damaged and is put aside: it has to be opened anew.
    pub fn is_over(&self) -> bool {
        self.channels.is_over.load(Ordering::Relaxed)
    }

    /// Returns when the till has stopped, which it does by itself only when an invariant of it broke, or its replica was put aside.
    pub async fn stopped(&self) {
        match &self.owner {
            Owner::Thread(requests) => requests.closed().await,
            Owner::Inline(_) => std::future::pending().await,
        }
    }
}

/// What a listener of [`Node::events`] hears next; nothing once the till has ended.
pub async fn next_events(listener: &mut broadcast::Receiver<Event>) -> Option<Vec<Event>> {
    match listener.recv().await {
        Ok(event) => Some(vec![event]),
        // What a slow listener missed can have been anything.
        Err(broadcast::error::RecvError::Lagged(_)) => Some(vec![Event::TillChanged {}, Event::CatalogueChanged {}]),
        Err(broadcast::error::RecvError::Closed) => None,
    }
}

impl From<NodeStopped> for ApiError {
    fn from(stopped: NodeStopped) -> Self {
        Self::new(ApiErrorCode::Storage, stopped.to_string())
    }
}

fn serve(mut owned: Owned, mut queue: mpsc::Receiver<Job>) {
    loop {
        let job = match queue.try_recv() {
            Ok(job) => job,
            Err(mpsc::error::TryRecvError::Disconnected) => break,
            Err(mpsc::error::TryRecvError::Empty) => {
                owned.tidy();
                match queue.blocking_recv() {
                    Some(job) => job,
                    None => break,
                }
            }
        };
        job(&mut owned);
        if owned.till.is_over() {
            return;
        }
        if owned.till.needs_tidying() {
            owned.tidy();
        }
    }
    if let Err(error) = owned.till.tidy() {
        tracing::warn!(error = %crate::errors::chain_of(&error), "the till could not tidy up before it stopped");
    }
    if let Err(error) = owned.till.end_use() {
        tracing::warn!(error = %crate::errors::chain_of(&error), "the till could not note that it ends");
    }
}

impl Owned {
    /// Passes on what the till has to say since it was last asked.
    fn tell(&mut self) {
        for event in self.till.take_events() {
            let _ = self.channels.events.send(event);
        }
        fn tell<T: PartialEq>(channel: &watch::Sender<T>, value: T) {
            channel.send_if_modified(|known| {
                if *known == value {
                    false
                } else {
                    *known = value;
                    true
                }
            });
        }
        tell(&self.channels.commits, self.till.own_chain().commit);
        tell(&self.channels.paper, self.till.paper_version());
        tell(&self.channels.entries, self.till.last_entry());
        tell(&self.channels.brought, self.till.brought());
        tell(&self.channels.questions, self.till.asked());
        tell(&self.channels.answers, self.till.answered());
        self.channels.is_over.store(self.till.is_over(), Ordering::Relaxed);
    }

    fn tidy(&mut self) {
        if self.till.wants_tidying()
            && let Err(error) = self.till.tidy()
        {
            tracing::warn!(error = %crate::errors::chain_of(&error), "the till could not tidy up");
        }
    }
}

impl Channels {
    fn of(till: &Till) -> Arc<Self> {
        Arc::new(Self {
            events: broadcast::Sender::new(EVENTS_MAX),
            commits: watch::Sender::new(till.own_chain().commit),
            paper: watch::Sender::new(till.paper_version()),
            entries: watch::Sender::new(till.last_entry()),
            brought: watch::Sender::new(till.brought()),
            questions: watch::Sender::new(till.asked()),
            answers: watch::Sender::new(till.answered()),
            is_over: AtomicBool::new(false),
        })
    }
}
