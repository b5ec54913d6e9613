//! All tasks, by namespace and id.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use prost::Message as _;
use tokio::sync::{Semaphore, oneshot, watch};
use wharf_events::Exchange;
use wharf_types::{Any, Id, Namespace};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::sandbox::Slots as Sandboxes;
use crate::shim::Shim;
use crate::task::ShimTask;
use crate::{CreateTask, Exit, Task, TaskManager, program, runtime};

/// Programs that clean up after dead shims and run at once.
const CLEANERS: usize = 8;

/// Tasks in shims. Clones share them.
#[derive(Clone)]
pub struct ShimManager {
    pub(crate) inner: Arc<Inner>,
}

/// What the clones share.
pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) exchange: Arc<dyn Exchange>,
    slots: Mutex<BTreeMap<Key, Slot>>,
    /// Shims that are not known to be dead, by socket.
    pub(crate) shims: Mutex<HashMap<PathBuf, Arc<Shim>>>,
    pub(crate) cleaners: Semaphore,
    pub(crate) sandboxes: Mutex<Sandboxes>,
}

/// A namespace and an id.
pub(crate) type Key = (Namespace, Id);

/// What a name stands for.
#[derive(Clone)]
pub(crate) enum Slot {
    /// A task is being made.
    Creating,
    /// A task.
    Task(Arc<ShimTask>),
    /// A task was here; its remains are being removed until the sender is dropped.
    Leaving(watch::Receiver<()>),
}

impl ShimManager {
    /// A manager that knows no tasks yet. Events of shims that died go to `exchange`.
    #[must_use]
    pub fn new(config: Config, exchange: Arc<dyn Exchange>) -> Self {
        let inner = Inner {
            config,
            exchange,
            slots: Mutex::default(),
            shims: Mutex::default(),
            cleaners: Semaphore::new(CLEANERS),
            sandboxes: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Takes up every task that the state directory knows. It returns as soon as all are listed; each is reached in the
    /// background: [`TaskManager::get`] waits for its own, at most [`crate::Timeouts::attach`], and for no other.
    ///
    /// It must be called before anything else, from within the runtime that is to serve.
    ///
    /// # Errors
    /// When the state directory cannot be read. What is wrong with one task is logged and stops no other.
    pub async fn restore(&self) -> Result<()> {
        self.inner.restore().await
    }

    /// Waits until each task that [`ShimManager::restore`] took up was reached, cleaned up after, or found silent.
    pub async fn settled(&self) {
        let slots: Vec<_> = self.inner.slots().values().cloned().collect();
        for slot in slots {
            match slot {
                Slot::Creating => {}
                Slot::Task(task) => task.ready().await,
                Slot::Leaving(mut left) => while left.changed().await.is_ok() {},
            }
        }
    }
}

impl std::fmt::Debug for ShimManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShimManager").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

#[async_trait]
impl TaskManager for ShimManager {
    async fn create(&self, namespace: &Namespace, id: &Id, create: CreateTask) -> Result<Arc<dyn Task>> {
        let (inner, key) = (Arc::clone(&self.inner), (namespace.clone(), id.clone()));
        let (answer, result) = oneshot::channel();
        // A caller who gives up leaves nothing half done: it is made whole first, and then undone.
        tokio::spawn(async move {
            let made = inner.create(key, create).await;
            if let Err(Ok(task)) = answer.send(made) {
                inner.discard(&task).await;
            }
        });
        result.await.map_err(|_| lost("create", id.as_str()))?.map(|task| task as Arc<dyn Task>)
    }

    async fn get(&self, namespace: &Namespace, id: &str) -> Result<Arc<dyn Task>> {
        let task = self.inner.task(namespace, id)?;
        let _ = tokio::time::timeout(self.inner.config.timeouts.attach, task.ready()).await;
        self.inner.task(namespace, id).map(|task| task as Arc<dyn Task>)
    }

    async fn list(&self, namespace: &Namespace) -> Vec<Arc<dyn Task>> {
        let slots = self.inner.slots();
        let tasks = slots.iter().filter(|((owner, _), _)| owner == namespace).filter_map(|(_, slot)| match slot {
            Slot::Task(task) => Some(Arc::clone(task) as Arc<dyn Task>),
            Slot::Creating | Slot::Leaving(_) => None,
        });
        tasks.collect()
    }

    async fn delete(&self, namespace: &Namespace, id: &str) -> Result<Exit> {
        let task = self.inner.task(namespace, id)?;
        let inner = Arc::clone(&self.inner);
        // Once begun it is gone through with, whether or not the caller stays.
        let deleted = tokio::spawn(async move { inner.delete(&task).await }).await;
        deleted.map_err(|_| lost("delete", id))?
    }

    async fn runtime_info(&self, runtime: &str, options: Option<Any>) -> Result<Any> {
        let path = runtime::shim_of(&self.inner.config, runtime)?;
        let info = program::info(&self.inner.config, &path, options.as_ref()).await?;
        Ok(Any { type_url: "containerd.types.RuntimeInfo".to_owned(), value: info.encode_to_vec() })
    }
}

impl Inner {
    pub(crate) fn slots(&self) -> MutexGuard<'_, BTreeMap<Key, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn task(&self, namespace: &Namespace, id: &str) -> Result<Arc<ShimTask>> {
        let unknown = || Error::NotFound(id.to_owned());
        let key = (namespace.clone(), id.parse().map_err(|_| unknown())?);
        match self.slots().get(&key) {
            Some(Slot::Task(task)) => Ok(Arc::clone(task)),
            _ => Err(unknown()),
        }
    }

    /// Takes a name that is free, or will be in a moment.
    ///
    /// # Errors
    /// `AlreadyExists`.
    pub(crate) async fn reserve(self: &Arc<Self>, key: Key) -> Result<Reservation> {
        loop {
            let mut leaving = match self.slots().get(&key) {
                None => None,
                Some(Slot::Leaving(left)) => Some(left.clone()),
                Some(Slot::Creating | Slot::Task(_)) => return Err(Error::AlreadyExists(key.1.to_string())),
            };
            match &mut leaving {
                Some(left) => while left.changed().await.is_ok() {},
                None => {
                    let mut slots = self.slots();
                    // Somebody may have been quicker.
                    if let std::collections::btree_map::Entry::Vacant(free) = slots.entry(key.clone()) {
                        free.insert(Slot::Creating);
                        drop(slots);
                        return Ok(Reservation { inner: Arc::clone(self), key });
                    }
                }
            }
        }
    }

    /// Keeps a name taken until the guard is dropped, though the task is gone.
    pub(crate) fn leaving(self: &Arc<Self>, key: Key) -> Leaving {
        let (sender, left) = watch::channel(());
        self.slots().insert(key.clone(), Slot::Leaving(left));
        Leaving { inner: Arc::clone(self), key, _sender: sender }
    }
}

/// A name that is taken for a task in the making; dropped, it is free again.
pub(crate) struct Reservation {
    inner: Arc<Inner>,
    key: Key,
}

impl Reservation {
    /// The task is made.
    pub(crate) fn fill(self, task: Arc<ShimTask>) {
        self.inner.slots().insert(self.key.clone(), Slot::Task(task));
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut slots = self.inner.slots();
        if let Some(Slot::Creating) = slots.get(&self.key) {
            slots.remove(&self.key);
        }
    }
}

/// A name that is still taken by what is being removed.
pub(crate) struct Leaving {
    inner: Arc<Inner>,
    key: Key,
    _sender: watch::Sender<()>,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.inner.slots().remove(&self.key);
    }
}

fn lost(doing: &str, id: &str) -> Error {
    Error::Internal(format!("{doing} task {id:?}: the work broke off; the log says why"))
}
