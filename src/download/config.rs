//! Where the Hugging Face hub and its cache are, told by the environment variables that all its tools share. Models and
//! data sets of the hub are fetched by the same.

use std::fmt;
use std::path::{Path, PathBuf};

use super::error::DownloadError;

/// How models and data sets of the hub are found.
#[derive(Clone, PartialEq, Eq)]
pub struct HubConfig {
    /// The address of the hub, without a slash at its end.
    pub endpoint: String,
    /// The address of the service that tells data sets row by row.
    pub viewer: String,
    /// The folder that holds `models--OWNER--NAME` folders.
    pub cache_dir: PathBuf,
    /// Whether the network must not be used.
    pub offline: bool,
    /// The access token.
    pub token: Option<String>,
}

impl HubConfig {
    /// Reads the environment as huggingface_hub's `constants.py` does:
    ///
    /// - `HF_ENDPOINT`, or else `https://huggingface.co`. The host of data sets' rows is `datasets-server.` before it,
    ///   as in Python's `datasets`; so a token goes to one owner;
    /// - `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE`, `$HF_HOME/hub`, `$XDG_CACHE_HOME/huggingface/hub`, or
    ///   `~/.cache/huggingface/hub`;
    /// - `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE` set to 1, ON, YES or TRUE, in any case;
    /// - `HF_TOKEN`, or else the file `$HF_HOME/token`.
    ///
    /// # Errors
    /// [`DownloadError::NoHome`] if nothing says where the cache is.
    pub fn from_env(get: impl Fn(&str) -> Option<String>) -> Result<Self, DownloadError> {
        let get = |name: &str| get(name).filter(|value| !value.trim().is_empty());
        let user = get("HOME").or_else(|| get("USERPROFILE"));
        let expand = |path: String| match (path.strip_prefix('~'), &user) {
            (Some(rest), Some(user)) if rest.is_empty() || rest.starts_with('/') => {
                Path::new(user).join(rest.trim_start_matches('/'))
            }
            _ => PathBuf::from(path),
        };
        let caches = || {
            let xdg = get("XDG_CACHE_HOME").map(expand);
            xdg.or_else(|| user.as_ref().map(|user| Path::new(user).join(".cache")))
        };
        let home = get("HF_HOME").map(expand).or_else(|| caches().map(|caches| caches.join("huggingface")));
        let cache_dir = get("HF_HUB_CACHE")
            .or_else(|| get("HUGGINGFACE_HUB_CACHE"))
            .map(expand)
            .or_else(|| home.as_ref().map(|home| home.join("hub")))
            .ok_or(DownloadError::NoHome)?;
        let is_set = |name: &str| {
            get(name).is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str()))
        };
        let token = get("HF_TOKEN").or_else(|| std::fs::read_to_string(home?.join("token")).ok());
        let endpoint = get("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        Ok(HubConfig {
            viewer: endpoint.replace("://", "://datasets-server."),
            endpoint,
            cache_dir,
            offline: is_set("HF_HUB_OFFLINE") || is_set("TRANSFORMERS_OFFLINE"),
            token: token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()),
        })
    }
}

impl fmt::Debug for HubConfig {
    /// Without the token, which must not reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubConfig")
            .field("endpoint", &self.endpoint)
            .field("viewer", &self.viewer)
            .field("cache_dir", &self.cache_dir)
            .field("offline", &self.offline)
            .field("token", &self.token.as_ref().map(|_| "..."))
            .finish()
    }
}
