//! Who may ask: nobody checks, basic authentication, or bearer tokens from the registry's own token endpoint.

use std::collections::HashMap;

use serde_json::json;

use super::Request;

/// What the registry asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// Nothing.
    #[default]
    None,
    /// A user and a password with every request.
    Basic(User),
    /// A token with every request.
    Bearer(Bearer),
}

/// A user and a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
}

/// How tokens are given out, at `/token`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bearer {
    /// Who gets a token; everybody when nobody is named.
    pub user: Option<User>,
    /// A refresh token that `POST` (OAuth2) takes instead of a password.
    pub refresh_token: Option<String>,
    /// `GET` is answered with 404, so that only OAuth2's `POST` gives tokens.
    pub post_only: bool,
    /// What the answer says in `expires_in`, in seconds; nothing when not given. The registry does not hold to it: see
    /// [`super::Registry::expire_tokens`].
    pub expires_in: Option<u64>,
    /// Another realm than the registry's own endpoint, as a full address.
    pub realm: Option<String>,
}

impl Auth {
    /// Basic authentication.
    #[must_use]
    pub fn basic(name: &str, password: &str) -> Self {
        Self::Basic(User { name: name.to_owned(), password: password.to_owned() })
    }

    /// Tokens for everybody.
    #[must_use]
    pub fn anonymous_bearer() -> Self {
        Self::Bearer(Bearer::default())
    }

    /// Tokens for a user.
    #[must_use]
    pub fn bearer(name: &str, password: &str) -> Self {
        let user = User { name: name.to_owned(), password: password.to_owned() };
        Self::Bearer(Bearer { user: Some(user), ..Bearer::default() })
    }
}

/// The tokens that count, and how many there were.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// With whether they are for pushing too.
    valid: HashMap<String, bool>,
    issued: usize,
}

impl Tokens {
    pub(super) fn expire(&mut self) {
        self.valid.clear();
    }

    pub(super) fn issued(&self) -> usize {
        self.issued
    }

    fn issue(&mut self, pushes: bool) -> String {
        self.issued += 1;
        let token = format!("token-{}", self.issued);
        self.valid.insert(token.clone(), pushes);
        token
    }
}

/// What `WWW-Authenticate` says to a request that may not pass; nothing to one that may.
pub(super) fn challenge(auth: &Auth, tokens: &Tokens, origin: &str, request: &Request) -> Option<String> {
    let given = request.header("authorization").unwrap_or_default();
    match auth {
        Auth::None => None,
        Auth::Basic(user) => (!is_user(given, user)).then(|| "Basic realm=\"test registry\"".to_owned()),
        Auth::Bearer(bearer) => {
            let token = given.strip_prefix("Bearer ").unwrap_or_default();
            let pushes = !matches!(request.method.as_str(), "GET" | "HEAD");
            if tokens.valid.get(token).is_some_and(|may_push| *may_push || !pushes) {
                return None;
            }
            let own = format!("{origin}/token");
            let realm = bearer.realm.as_deref().unwrap_or(&own);
            let repository = request.path.strip_prefix("/v2/").and_then(|rest| {
                rest.rsplit_once("/manifests/")
                    .or_else(|| rest.rsplit_once("/blobs/"))
                    .map(|(repository, _)| repository)
            });
            let actions = if pushes { "pull,push" } else { "pull" };
            let scope = repository.map(|name| format!(",scope=\"repository:{name}:{actions}\"")).unwrap_or_default();
            Some(format!("Bearer realm=\"{realm}\",service=\"test\"{scope}"))
        }
    }
}

/// The status and body of the token endpoint's answer.
pub(super) fn token(auth: &Auth, tokens: &mut Tokens, request: &Request) -> (u16, String) {
    let Auth::Bearer(bearer) = auth else { return (404, String::new()) };
    let allowed = match request.method.as_str() {
        "POST" => oauth(bearer, &request.body),
        _ if bearer.post_only => return (404, String::new()),
        _ => match (&bearer.user, request.header("authorization")) {
            (None, _) => true,
            (Some(user), Some(given)) => is_user(given, user),
            (Some(_), None) => false,
        },
    };
    if !allowed {
        return (401, json!({"errors": [{"code": "UNAUTHORIZED", "message": "wrong user or password"}]}).to_string());
    }
    let token = tokens.issue([&request.query, &request.body].iter().any(|asked| asked.contains("push")));
    let mut answer = json!({ "token": token, "access_token": token });
    if let (Some(seconds), Some(object)) = (bearer.expires_in, answer.as_object_mut()) {
        object.insert("expires_in".to_owned(), seconds.into());
    }
    (200, answer.to_string())
}

/// RFC 6749, sections 4.3 and 6.
fn oauth(bearer: &Bearer, form: &str) -> bool {
    let field = |name: &str| form.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    match field("grant_type") {
        Some("refresh_token") => {
            bearer.refresh_token.is_some() && field("refresh_token") == bearer.refresh_token.as_deref()
        }
        Some("password") => bearer.user.as_ref().is_some_and(|user| {
            field("username") == Some(user.name.as_str()) && field("password") == Some(user.password.as_str())
        }),
        _ => false,
    }
}

fn is_user(header: &str, user: &User) -> bool {
    header
        .strip_prefix("Basic ")
        .is_some_and(|given| given == base64(format!("{}:{}", user.name, user.password).as_bytes()))
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let index = (word >> (18 - 6 * place)) & 63;
            let letter = LETTERS.get(index as usize).map_or('=', |letter| char::from(*letter));
            text.push(if place <= chunk.len() { letter } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_pads() {
        let encoded: Vec<String> =
            ["", "f", "fo", "foo", "foob"].iter().map(|text| super::base64(text.as_bytes())).collect();
        assert_eq!(encoded, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
    }
}
