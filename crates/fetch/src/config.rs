//! What a resolver is told: who the user is, where plain HTTP may be spoken, how long to wait.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::Result;

/// How registries are spoken to.
#[derive(Clone)]
pub struct Config {
    /// Knows users and passwords.
    pub credentials: Arc<dyn CredentialSource>,
    /// The scheme for registries that [`Config::schemes`] does not name. Without one it is HTTPS, and HTTP for `localhost`,
    /// 127.0.0.0/8 and `::1`.
    pub default_scheme: Option<Scheme>,
    /// The scheme by registry, as references name it (`registry.lan:5000`).
    pub schemes: HashMap<String, Scheme>,
    /// Headers for requests to the registry itself, never for those that it redirects to.
    pub headers: Vec<(String, String)>,
    /// Hosts of token realms, by registry, that get a user's password beside those that belong to the registry: see
    /// [`crate::auth`].
    pub realms: HashMap<String, Vec<String>>,
    /// The `User-Agent`.
    pub user_agent: String,
    /// The most bytes that an index or a manifest may have.
    pub max_manifest: u64,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// How often to try again.
    pub retries: Retries,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            credentials: Arc::new(Anonymous),
            default_scheme: None,
            schemes: HashMap::new(),
            headers: Vec::new(),
            realms: HashMap::new(),
            user_agent: concat!("wharf/", env!("CARGO_PKG_VERSION")).to_owned(),
            max_manifest: 8 * 1024 * 1024,
            timeouts: Timeouts::default(),
            retries: Retries::default(),
        }
    }
}

impl fmt::Debug for Config {
    /// Without headers, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Config");
        text.field("default_scheme", &self.default_scheme).field("schemes", &self.schemes);
        text.field("timeouts", &self.timeouts).field("retries", &self.retries).finish_non_exhaustive()
    }
}

/// Bounds of waiting.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Until a connection stands, TLS included.
    pub connect: Duration,
    /// From a request until all headers of its answer are there.
    pub headers: Duration,
    /// For the whole body of a manifest or a token.
    pub document: Duration,
    /// A blob's body must bring [`Timeouts::stall_bytes`] in this time of waiting, or its connection counts as cut.
    pub stall: Duration,
    /// See [`Timeouts::stall`]. The time that a consumer takes does not count.
    pub stall_bytes: u64,
    /// From the last byte of an upload until its answer: the registry may have to hash all of it again.
    pub commit: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connect: seconds(20),
            headers: seconds(30),
            document: seconds(60),
            stall: seconds(30),
            stall_bytes: 16 * 1024,
            commit: seconds(300),
        }
    }
}

/// Bounds of trying again.
#[derive(Clone, Copy, Debug)]
pub struct Retries {
    /// How often a request is sent in all while its answers are 408, 429, 5xx or cut off.
    pub attempts: u32,
    /// How often in a row a blob's body may be cut without bringing [`Retries::progress`].
    pub cuts: u32,
    /// How many bytes between two cuts count as progress.
    pub progress: u64,
    /// The pause before the second attempt. It doubles each time, and a random part of up to a half is taken off.
    pub pause: Duration,
    /// The longest pause, also when `Retry-After` asks for more.
    pub max_pause: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        let (pause, max_pause) = (Duration::from_millis(500), Duration::from_secs(30));
        Self { attempts: 5, cuts: 5, progress: 64 * 1024, pause, max_pause }
    }
}

/// What is spoken to a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// HTTPS.
    Https,
    /// Plain HTTP.
    Http,
}

impl Scheme {
    /// `https` or `http`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }
}

/// Knows who the user is.
#[async_trait]
pub trait CredentialSource: Send + Sync {
    /// The credentials for a registry, named as references name it: `docker.io`, `localhost:5000`.
    ///
    /// # Errors
    /// When whoever knows cannot be asked.
    async fn credentials(&self, registry: &str) -> Result<Option<Credentials>>;
}

/// Proof of who the user is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// A user and a password.
    Password(String, Secret),
    /// An OAuth2 refresh token ("identity token").
    Refresh(Secret),
    /// A bearer token that the registry takes as it is.
    Bearer(Secret),
}

/// Text that is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Nobody: what is public can be had.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anonymous;

#[async_trait]
impl CredentialSource for Anonymous {
    async fn credentials(&self, _registry: &str) -> Result<Option<Credentials>> {
        Ok(None)
    }
}

/// Credentials by registry.
#[async_trait]
impl CredentialSource for HashMap<String, Credentials> {
    async fn credentials(&self, registry: &str) -> Result<Option<Credentials>> {
        Ok(self.get(registry).cloned())
    }
}
