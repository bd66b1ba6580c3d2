//! What a hub is started with: from a flag, else the environment, else a file, else the default.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};
use sync_hub::{Limits, Options, Tls, TokenKeys};

/// Where a hub listens if nobody says: this machine alone.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8787);

/// The settings of one source. What it does not say is left to the next one.
#[derive(Debug, Default, Clone, PartialEq, Eq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// Address and port [default: 127.0.0.1:8787]; port 0 takes a free one. Without a token key only this
    /// machine's own.
    #[arg(long, env = "SYNC_HUB_LISTEN")]
    pub(crate) listen: Option<SocketAddr>,
    /// Folder of the database; made if there is none.
    #[arg(long, env = "SYNC_HUB_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Folder of files to serve at /.
    #[arg(long = "static", env = "SYNC_HUB_STATIC")]
    #[serde(rename = "static")]
    pub(crate) static_dir: Option<PathBuf>,
    /// File with a key that tokens are signed with: a secret, or a public key of Ed25519. May stand more
    /// than once.
    #[arg(long = "token-key", env = "SYNC_HUB_TOKEN_KEYS", value_delimiter = ',')]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) token_keys: Vec<PathBuf>,
    /// File with the certificate and those that vouch for it, in PEM: then TLS is spoken.
    #[arg(long, env = "SYNC_HUB_TLS_CERTIFICATE", value_name = "FILE")]
    pub(crate) tls_certificate: Option<PathBuf>,
    /// File with the certificate's private key, in PEM.
    #[arg(long, env = "SYNC_HUB_TLS_KEY", value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Origin of web pages that may connect, as https://app.example. May stand more than once. Pages of the
    /// hub itself may, and on this machine those of this machine.
    #[arg(long = "origin", env = "SYNC_HUB_ORIGINS", value_delimiter = ',')]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) origins: Vec<String>,
    #[command(flatten)]
    #[serde(default)]
    pub(crate) limits: LimitSettings,
}

/// Names each limit once: its flag and its variable come from that.
macro_rules! limits {
    ($($(#[doc = $text:literal])+ $field:ident: $type:ty = $flag:literal, $env:literal, $least:expr;)+) => {
        /// The limits that one source sets.
        #[derive(Debug, Default, Clone, PartialEq, Eq, Args, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        pub(crate) struct LimitSettings {
            $($(#[doc = $text])+
            #[arg(long = $flag, env = $env, value_name = "N", help_heading = "Limits")]
            $field: Option<$type>,)+
        }

        impl LimitSettings {
            fn or(self, other: Self) -> Self {
                Self { $($field: self.$field.or(other.$field),)+ }
            }

            fn filled(self) -> Self {
                let limits = Limits::default();
                Self { $($field: self.$field.or(Some(limits.$field)),)+ }
            }

            fn limits(&self) -> Result<Limits> {
                let mut limits = Limits::default();
                $(if let Some(value) = self.$field {
                    if !($least..).contains(&value) {
                        bail!(
                            "{} is {value}, and must be at least {}",
                            stringify!($field).replace('_', "-"), $least
                        );
                    }
                    limits.$field = value;
                })+
                Ok(limits)
            }
        }
    };
}

limits! {
    /// Connections at a time.
    connections_max: usize = "connections-max", "SYNC_HUB_CONNECTIONS_MAX", 1;
    /// Connections at a time of one address; those of this machine do not count.
    connections_per_address_max: usize =
        "connections-per-address-max", "SYNC_HUB_CONNECTIONS_PER_ADDRESS_MAX", 1;
    /// Bytes that wait to be sent on one connection before it is closed as too slow.
    outgoing_bytes_max: usize = "outgoing-bytes-max", "SYNC_HUB_OUTGOING_BYTES_MAX", 1 << 20;
    /// Bytes of one connection that wait to be handled before it is read no further.
    incoming_bytes_max: usize = "incoming-bytes-max", "SYNC_HUB_INCOMING_BYTES_MAX", 1 << 16;
    /// Bytes of all connections that wait to be handled.
    incoming_bytes_max_in_all: usize =
        "incoming-bytes-max-in-all", "SYNC_HUB_INCOMING_BYTES_MAX_IN_ALL", 1 << 20;
    /// WebSocket frames a second that are read from one connection over time.
    frames_per_second: u32 = "frames-per-second", "SYNC_HUB_FRAMES_PER_SECOND", 1;
    /// WebSocket frames that may come at once before that rate holds.
    frames_burst: u32 = "frames-burst", "SYNC_HUB_FRAMES_BURST", 1;
    /// Ranges of removed dots that are kept of a document for those who resume.
    removals_max: u64 = "removals-max", "SYNC_HUB_REMOVALS_MAX", 0;
    /// Milliseconds that the stamps of changes may lie ahead of this machine's clock.
    stamp_ahead_ms_max: u64 = "stamp-ahead-ms-max", "SYNC_HUB_STAMP_AHEAD_MS_MAX", 0;
}

impl Settings {
    /// Reads a file. Paths in it are relative to its folder.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("the configuration {} cannot be read", path.display()))?;
        let mut settings: Self = toml::from_str(&text)
            .with_context(|| format!("the configuration {} is wrong", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let folders = settings.data_dir.iter_mut().chain(&mut settings.static_dir);
        let tls = settings.tls_certificate.iter_mut().chain(&mut settings.tls_key);
        for path in folders.chain(&mut settings.token_keys).chain(tls) {
            *path = folder.join(&*path);
        }
        Ok(settings)
    }

    /// What this says, and where it says nothing what the other does.
    #[must_use]
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            listen: self.listen.or(other.listen),
            data_dir: self.data_dir.or(other.data_dir),
            static_dir: self.static_dir.or(other.static_dir),
            token_keys: either(self.token_keys, other.token_keys),
            tls_certificate: self.tls_certificate.or(other.tls_certificate),
            tls_key: self.tls_key.or(other.tls_key),
            origins: either(self.origins, other.origins),
            limits: self.limits.or(other.limits),
        }
    }

    /// With what holds where nobody says anything.
    #[must_use]
    pub(crate) fn filled(self) -> Self {
        let listen = self.listen.or(Some(LISTEN));
        Self { listen, limits: self.limits.filled(), ..self }
    }

    /// As a file would say it.
    pub(crate) fn to_toml(&self) -> Result<String> {
        Ok(toml::to_string(self)?)
    }

    /// Where to listen, and what to serve.
    pub(crate) fn options(self) -> Result<(SocketAddr, Options)> {
        let Some(data_dir) = self.data_dir else {
            bail!("no folder for the database; set --data-dir, SYNC_HUB_DATA_DIR or data-dir");
        };
        let mut options = Options::new(data_dir).with_limits(self.limits.limits()?);
        options.static_dir = self.static_dir;
        options.origins = self.origins;
        match (self.tls_certificate, self.tls_key) {
            (Some(certificate), Some(key)) => {
                options = options.with_tls(Tls::read(&certificate, &key)?);
            }
            (None, None) => {}
            _ => bail!("TLS needs both --tls-certificate and --tls-key"),
        }
        if !self.token_keys.is_empty() {
            options = options.with_keys(TokenKeys::read(&self.token_keys)?);
        }
        Ok((self.listen.unwrap_or(LISTEN), options))
    }
}

fn either<T>(one: Vec<T>, other: Vec<T>) -> Vec<T> {
    if one.is_empty() { other } else { one }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn file(folder: &TempDir, text: &str) -> PathBuf {
        let path = folder.path().join("hub.toml");
        fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn a_flag_goes_before_a_file_and_a_file_before_the_default() {
        let folder = TempDir::new().unwrap();
        let path = file(
            &folder,
            "listen = \"127.0.0.1:1\"\ndata-dir = \"data\"\norigins = [\"https://a\"]\n\
             [limits]\nframes-burst = 7\nremovals-max = 8\n",
        );
        let flags = Settings {
            listen: Some("127.0.0.1:2".parse().unwrap()),
            limits: LimitSettings { removals_max: Some(9), ..LimitSettings::default() },
            ..Settings::default()
        };
        let settings = flags.or(Settings::read(&path).unwrap()).filled();
        assert_eq!(settings.data_dir, Some(folder.path().join("data")), "beside the file");
        let (listen, options) = settings.clone().options().unwrap();
        assert_eq!(listen.port(), 2);
        assert_eq!(options.origins, ["https://a"]);
        let limits = Limits { frames_burst: 7, removals_max: 9, ..Limits::default() };
        assert_eq!(options.limits, limits);
        let printed = settings.to_toml().unwrap();
        assert_eq!(toml::from_str::<Settings>(&printed).unwrap(), settings, "{printed}");
        for line in ["listen = \"127.0.0.1:2\"", "frames-burst = 7", "outgoing-bytes-max = 4194304"]
        {
            assert!(printed.contains(line), "{printed}");
        }
    }

    #[test]
    fn a_file_that_is_wrong_is_refused_with_the_place() {
        let folder = TempDir::new().unwrap();
        for (text, what) in [
            ("lisen = \"127.0.0.1:1\"\n", "lisen"),
            ("[limits]\nframes-bust = 1\n", "frames-bust"),
            ("listen = 8787\n", "listen"),
            ("[limits]\nframes-burst = -1\n", "-1"),
            ("data-dir", "line 1"),
        ] {
            let error = format!("{:#}", Settings::read(&file(&folder, text)).unwrap_err());
            assert!(error.contains(what) && error.contains("hub.toml"), "{error}");
        }
        let missing = Settings::read(&folder.path().join("missing.toml")).unwrap_err();
        assert!(format!("{missing:#}").contains("missing.toml"));
        let half = Settings {
            data_dir: Some("data".into()),
            tls_key: Some("key".into()),
            ..Settings::default()
        };
        assert!(half.options().unwrap_err().to_string().contains("--tls-certificate"));
        assert!(Settings::default().options().unwrap_err().to_string().contains("--data-dir"));
    }

    #[test]
    fn a_limit_that_nothing_could_work_with_is_refused() {
        for (bytes, is_taken) in [((1 << 20) - 1, false), (1 << 20, true), ((1 << 20) + 1, true)] {
            let limits =
                LimitSettings { outgoing_bytes_max: Some(bytes), ..LimitSettings::default() };
            let data_dir = Some("data".into());
            let settings = Settings { limits, data_dir, ..Settings::default() };
            match settings.options() {
                Ok(_) => assert!(is_taken, "{bytes}"),
                Err(error) => {
                    assert!(!is_taken, "{bytes}");
                    let error = error.to_string();
                    assert!(error.contains("outgoing-bytes-max") && error.contains("1048576"));
                }
            }
        }
    }
}
