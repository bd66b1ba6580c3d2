//! `sync-hub token`: keys, and tokens that are signed with them.

use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use sync_hub::Claims;

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Makes a secret to sign tokens with.
    Key(Key),
    /// Makes a token, and prints it.
    Create(Create),
    /// Prints what a token says, whoever signed it.
    Inspect(Inspect),
}

#[derive(Debug, Args)]
pub(crate) struct Key {
    /// File to make, which only its owner may read.
    file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// File with the secret, or with a private key of Ed25519.
    #[arg(long, env = "SYNC_HUB_SIGN_KEY")]
    key: PathBuf,
    /// Who it is for.
    #[arg(long)]
    subject: String,
    /// Document that may be read; a name, or its beginning and a *. May stand more than once.
    #[arg(long)]
    read: Vec<String>,
    /// Document that may be read and written, likewise.
    #[arg(long)]
    write: Vec<String>,
    /// How long it lasts, as 30d, 12h or 15m.
    #[arg(long, default_value = "30d", value_parser = humantime::parse_duration)]
    expires: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The token; without it, it is read from the standard input.
    token: Option<String>,
}

impl Token {
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::Key(key) => key.run(),
            Self::Create(create) => create.run(),
            Self::Inspect(inspect) => inspect.run(),
        }
    }
}

impl Key {
    fn run(self) -> Result<()> {
        let mut options = std::fs::OpenOptions::new();
        let opened = options.write(true).create_new(true).mode(0o600).open(&self.file);
        let mut file = opened.with_context(|| {
            format!("the key {} cannot be made; one that is there is kept", self.file.display())
        })?;
        writeln!(file, "{}", sync_hub::new_secret()?)?;
        Ok(file.sync_all()?)
    }
}

impl Create {
    fn run(self) -> Result<()> {
        if self.read.is_empty() && self.write.is_empty() {
            bail!("the token would allow nothing; name documents with --read or --write");
        }
        let now = now_seconds();
        let claims = Claims {
            subject: self.subject,
            read: self.read,
            write: self.write,
            ends: now.saturating_add(self.expires.as_secs()),
            starts: None,
        };
        writeln!(std::io::stdout(), "{}", sync_hub::sign_token(&claims, &self.key)?)?;
        Ok(())
    }
}

impl Inspect {
    fn run(self) -> Result<()> {
        let token = match self.token {
            Some(token) => token,
            None => {
                let mut text = String::new();
                std::io::stdin().take(1 << 20).read_to_string(&mut text)?;
                text
            }
        };
        let claims = sync_hub::inspect_token(&token)?;
        let mut out = std::io::stdout();
        writeln!(out, "subject: {}", claims.subject)?;
        for (what, names) in [("read", &claims.read), ("write", &claims.write)] {
            for name in names {
                writeln!(out, "{what}: {name}")?;
            }
        }
        let left = claims.ends.checked_sub(now_seconds()).filter(|left| *left > 0);
        let left = left.map_or_else(
            || "it has ended".to_owned(),
            |left| format!("in {}", humantime::format_duration(Duration::from_secs(left))),
        );
        let ends = UNIX_EPOCH + Duration::from_secs(claims.ends.min(ENDS_MAX));
        writeln!(out, "ends: {} ({left})", humantime::format_rfc3339_seconds(ends))?;
        Ok(())
    }
}

/// The last second of the year 9999: no calendar is printed beyond.
const ENDS_MAX: u64 = 253_402_300_799;

#[allow(clippy::disallowed_methods, reason = "tokens end by the calendar")]
fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
