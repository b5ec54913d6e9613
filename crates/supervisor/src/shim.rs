//! The connection to one shim, kept up as long as the shim's process lives.
//!
//! A connection that ends says nothing about the shim: it is made again. Only the end of the process, or a socket that nobody
//! listens on where no process is known, means death.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use prost::Message;
use tokio::net::UnixStream;
use tokio::sync::{Notify, watch};
use wharf_api::containerd::task::v3 as api;
use wharf_ttrpc::{CallOptions, Client, Code, NAMESPACE_KEY, Status};
use wharf_types::{Id, Namespace};

use crate::bootstrap::Endpoint;
use crate::bundle::Bundle;
use crate::config::Timeouts;
use crate::error::{Error, Result};
use crate::watch::{Process, Watch};

/// The rest between attempts to reach a shim: doubled each time.
const REST: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(5));

/// What is known of the connection.
#[derive(Clone, Debug)]
pub(crate) enum Link {
    /// It is being made: whoever calls may wait for it a while.
    Connecting,
    /// The shim answers.
    Up(Client),
    /// The shim lives and does not answer, for this reason; it is tried again.
    Silent(String),
    /// The shim is dead.
    Dead,
}

/// A shim, shared by the tasks that it serves.
#[derive(Debug)]
pub(crate) struct Shim {
    socket: PathBuf,
    version: AtomicI32,
    namespace: Namespace,
    /// The task it was started for.
    first: Id,
    timeouts: Timeouts,
    link: watch::Sender<Link>,
    process: OnceLock<Watch>,
    doubted: Notify,
    users: Mutex<Users>,
}

#[derive(Debug)]
struct Users {
    count: usize,
    /// The last has left: it is going, and serves no new one.
    retired: bool,
}

/// Why a shim could not be reached.
#[derive(Debug)]
struct Failure {
    /// Nobody listens.
    gone: bool,
    words: String,
}

impl Shim {
    /// A shim with one user. `recorded` is its process, as an earlier daemon knew it.
    ///
    /// It is reached once [`Shim::keep`] runs.
    pub(crate) fn new(
        endpoint: &Endpoint,
        bundle: &Bundle,
        recorded: Option<Process>,
        timeouts: Timeouts,
    ) -> Arc<Self> {
        let process = OnceLock::new();
        if let Some(watch) = recorded.and_then(|p| Watch::new(p.pid).filter(|watch| watch.process == p)) {
            let _ = process.set(watch);
        }
        // A process that was known and is no more: there is nobody to connect to.
        let dead = recorded.is_some() && process.get().is_none();
        Arc::new(Self {
            socket: endpoint.socket().unwrap_or_default(),
            version: AtomicI32::new(endpoint.version),
            namespace: bundle.namespace.clone(),
            first: bundle.id.clone(),
            timeouts,
            link: watch::Sender::new(if dead { Link::Dead } else { Link::Connecting }),
            process,
            doubted: Notify::new(),
            users: Mutex::new(Users { count: 1, retired: false }),
        })
    }

    /// The path of its socket, which is its identity.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its process, once it has answered.
    pub(crate) fn process(&self) -> Option<Process> {
        self.process.get().map(|watch| watch.process)
    }

    /// Takes part in it; false when it is going.
    pub(crate) fn join(&self) -> bool {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if !users.retired {
            users.count += 1;
        }
        !users.retired
    }

    /// Leaves it; true for the last, who must tell it to go.
    pub(crate) fn leave(&self) -> bool {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.count = users.count.saturating_sub(1);
        users.retired |= users.count == 0;
        users.retired
    }

    /// Keeps the connection up; returns when the shim is dead.
    pub(crate) async fn keep(&self) {
        let mut rest = REST.0;
        while !matches!(*self.link.borrow(), Link::Dead) {
            match self.attach().await {
                Ok(client) => {
                    rest = REST.0;
                    self.link.send_replace(Link::Up(client.clone()));
                    tokio::select! {
                        () = client.closed() => { self.link.send_replace(Link::Connecting); }
                        () = self.ended() => {}
                        () = self.doubted.notified() => { self.link.send_replace(Link::Silent(String::new())); }
                    }
                }
                Err(failure) if self.is_dead(&failure) => break,
                Err(failure) => {
                    // A process that is ending closes its sockets first: that is no silence yet.
                    if !failure.gone || rest > REST.0 {
                        self.link.send_replace(Link::Silent(failure.words));
                    }
                    tokio::select! {
                        () = tokio::time::sleep(rest) => {}
                        () = self.ended() => {}
                    }
                    rest = (rest * 2).min(REST.1);
                }
            }
        }
        self.link.send_replace(Link::Dead);
    }

    fn is_dead(&self, failure: &Failure) -> bool {
        self.process.get().map_or(failure.gone, |watch| !watch.process.lives())
    }

    async fn ended(&self) {
        match self.process.get() {
            Some(watch) => watch.ended().await,
            None => std::future::pending().await,
        }
    }

    /// Connects and hears from the shim, within a bound.
    async fn attach(&self) -> Result<Client, Failure> {
        let attempt = tokio::time::timeout(self.timeouts.attach, async {
            let stream = UnixStream::connect(&self.socket).await.map_err(|error| Failure {
                gone: matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound),
                words: format!("connecting to {}: {error}", self.socket.display()),
            })?;
            let client = Client::new(stream);
            let pid = self.hello(&client).await?;
            if self.process.get().is_none()
                && let Some(watch) = Watch::new(pid)
            {
                // It answers still, so the process that is watched is the one that answered.
                self.hello(&client).await?;
                let _ = self.process.set(watch);
            }
            Ok(client)
        });
        attempt.await.unwrap_or_else(|_| {
            Err(Failure { gone: false, words: format!("no answer within {:?}", self.timeouts.attach) })
        })
    }

    /// Asks the shim for its pid, and finds out which version it speaks; 0 where it will not say.
    async fn hello(&self, client: &Client) -> Result<u32, Failure> {
        let request = api::ConnectRequest { id: self.first.to_string() };
        loop {
            let service = self.service();
            let options = self.options(None);
            let answer: Result<api::ConnectResponse, _> = client.call(service, "Connect", &request, &options).await;
            match answer {
                Ok(response) => return Ok(response.shim_pid),
                Err(status) if status.code == Code::Unimplemented && self.version.load(Ordering::Relaxed) > 2 => {
                    self.version.store(2, Ordering::Relaxed);
                }
                Err(_) if client.is_closed() => {
                    return Err(Failure { gone: false, words: "it ended the connection".to_owned() });
                }
                // Whatever it said, it answers.
                Err(_) => return Ok(0),
            }
        }
    }

    /// Waits until the shim is dead, at most so long; true when it is.
    pub(crate) async fn dead(&self, limit: Duration) -> bool {
        let mut link = self.link.subscribe();
        let dead = link.wait_for(|link| matches!(link, Link::Dead));
        tokio::time::timeout(limit, dead).await.is_ok()
    }

    /// True once it is known to be dead.
    pub(crate) fn is_known_dead(&self) -> bool {
        matches!(*self.link.borrow(), Link::Dead)
    }

    /// Ends its process, where it is known.
    pub(crate) fn kill(&self) {
        if let Some(watch) = self.process.get() {
            watch.kill();
        }
    }

    /// The connection, once it is neither being made nor broken; waits at most so long.
    pub(crate) async fn client(&self, task: &Id, limit: Option<Duration>) -> Result<Client> {
        let mut link = self.link.subscribe();
        let settled = link.wait_for(|link| match link {
            Link::Connecting => false,
            Link::Up(client) => !client.is_closed(),
            Link::Silent(_) | Link::Dead => true,
        });
        let settled = match limit {
            None => settled.await,
            Some(limit) => tokio::time::timeout(limit, settled).await.map_err(|_| silent(task, ""))?,
        };
        match settled.as_deref() {
            Ok(Link::Up(client)) => Ok(client.clone()),
            Ok(Link::Silent(reason)) => Err(silent(task, reason)),
            _ => Err(Error::Dead(task.to_string())),
        }
    }

    /// Waits until the shim answers again, or is dead.
    pub(crate) async fn heard(&self) -> Result<Client, ()> {
        let mut link = self.link.subscribe();
        let heard = link.wait_for(|link| match link {
            Link::Up(client) => !client.is_closed(),
            Link::Dead => true,
            Link::Connecting | Link::Silent(_) => false,
        });
        match heard.await.as_deref() {
            Ok(Link::Up(client)) => Ok(client.clone()),
            _ => Err(()),
        }
    }

    /// Calls a method of the task service about a task.
    ///
    /// # Errors
    /// The shim's own status; `Silent` when it does not answer and `Dead` when it has died.
    pub(crate) async fn call<Req: Message, Resp: Message + Default>(
        &self,
        task: &Id,
        method: &str,
        request: &Req,
        limit: Duration,
    ) -> Result<Resp> {
        // Which of the two is known once it has answered.
        self.client(task, Some(limit.min(self.timeouts.attach))).await?;
        self.call_service(self.service(), task, method, request, limit).await
    }

    /// Calls a method of any of its services.
    ///
    /// # Errors
    /// As [`Shim::call`].
    pub(crate) async fn call_service<Req: Message, Resp: Message + Default>(
        &self,
        service: &str,
        task: &Id,
        method: &str,
        request: &Req,
        limit: Duration,
    ) -> Result<Resp> {
        let client = self.client(task, Some(limit.min(self.timeouts.attach))).await?;
        let answer = client.call(service, method, request, &self.options(Some(limit))).await;
        let status = match answer {
            Ok(answer) => return Ok(answer),
            Err(status) => status,
        };
        match status.code {
            Code::Unavailable if client.is_closed() => match self.client(task, Some(self.timeouts.attach)).await {
                Err(error @ Error::Dead(_)) => Err(error),
                _ => Err(silent(task, &format!("the connection ended during {method}"))),
            },
            Code::DeadlineExceeded if limit <= self.timeouts.quick => {
                // Perhaps it is stopped. Until it was heard of again, nobody else need wait for it.
                self.link.send_if_modified(|link| {
                    let up = matches!(link, Link::Up(_));
                    if up {
                        *link = Link::Silent(format!("{method} was not answered within {limit:?}"));
                        self.doubted.notify_one();
                    }
                    up
                });
                Err(silent(task, &status.message))
            }
            _ => Err(Error::Shim(status)),
        }
    }

    /// Calls a method without any deadline, over a given connection.
    pub(crate) async fn call_over<Req: Message, Resp: Message + Default>(
        &self,
        client: &Client,
        method: &str,
        request: &Req,
    ) -> Result<Resp, Status> {
        self.call_service_over(self.service(), client, method, request).await
    }

    /// As [`Shim::call_over`], of any of its services.
    pub(crate) async fn call_service_over<Req: Message, Resp: Message + Default>(
        &self,
        service: &str,
        client: &Client,
        method: &str,
        request: &Req,
    ) -> Result<Resp, Status> {
        client.call(service, method, request, &self.options(None)).await
    }

    fn service(&self) -> &'static str {
        // The messages of both versions are the same on the wire.
        if self.version.load(Ordering::Relaxed) > 2 { "containerd.task.v3.Task" } else { "containerd.task.v2.Task" }
    }

    fn options(&self, timeout: Option<Duration>) -> CallOptions {
        CallOptions { timeout, metadata: vec![(NAMESPACE_KEY.to_owned(), self.namespace.to_string())] }
    }
}

fn silent(task: &Id, reason: &str) -> Error {
    Error::Silent { task: task.to_string(), reason: reason.to_owned() }
}
