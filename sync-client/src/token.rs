//! Where a client's token comes from.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use crate::client::Builder;
use crate::error::LineError;

/// How long a source may take for a token, in milliseconds. Arbitrary: it may ask a server, and a person.
const TOKEN_MS_MAX: u64 = 60_000;

/// What a source of tokens may say in place of one.
pub type TokenError = Box<dyn Error + Send + Sync>;

type Ask = dyn Fn() -> BoxFuture<'static, Result<String, TokenError>> + Send + Sync;

/// A call that is under way.
type Call = JoinHandle<Result<String, TokenError>>;

/// Gives a token whenever it is asked for one.
#[derive(Clone)]
pub(crate) struct TokenSource(Arc<Ask>);

impl TokenSource {
    fn blocking<F, E>(source: F) -> Self
    where
        F: Fn() -> Result<String, E> + Send + Sync + 'static,
        E: Into<TokenError>,
    {
        let source = Arc::new(source);
        let call: Arc<Mutex<Option<Call>>> = Arc::default();
        let ask = move || {
            let (source, call) = (source.clone(), call.clone());
            async move {
                let mut call = call.lock().await;
                // One that nobody waits for any more is still under way.
                let asked = call
                    .get_or_insert_with(|| spawn_blocking(move || source().map_err(Into::into)));
                let token = asked.await;
                *call = None;
                // A panic of the caller's function is no token.
                token.unwrap_or_else(|panicked| Err(panicked.into()))
            }
            .boxed()
        };
        Self(Arc::new(ask))
    }

    /// Asks for a token that is not the one which the hub refused.
    pub(crate) async fn ask(&self, refused: Option<&str>) -> Result<String, LineError> {
        match timeout(Duration::from_millis(TOKEN_MS_MAX), (self.0)()).await {
            Ok(Ok(token)) if refused == Some(&token) => Err(LineError::TokenEnded),
            Ok(Ok(token)) => Ok(token),
            Ok(Err(error)) => Err(LineError::NoToken(error)),
            Err(_) => Err(LineError::NoToken(format!("none within {TOKEN_MS_MAX} ms").into())),
        }
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSource")
    }
}

impl Builder {
    /// Says where a token comes from, where the hub asks who this is. It is asked before each attempt to
    /// connect, so also once the hub has said that a token was not accepted or has ended; the hub then
    /// gets another one, or nothing is sent and the source is asked again after a while, as it is after
    /// an error: see [`OfflineReason::NoToken`](crate::OfflineReason::NoToken). It may take a minute.
    ///
    /// The future runs on the thread that commits and sends: what blocks belongs into
    /// [`blocking_token_source`](Self::blocking_token_source).
    pub fn token_source<F, G, E>(self, source: F) -> Self
    where
        F: Fn() -> G + Send + Sync + 'static,
        G: Future<Output = Result<String, E>> + Send + 'static,
        E: Into<TokenError>,
    {
        let ask = move || source().map(|token| token.map_err(Into::into)).boxed();
        self.with_tokens(TokenSource(Arc::new(ask)))
    }

    /// As [`token_source`](Self::token_source), with a function that may block; it runs on a thread of its
    /// own. While a call takes longer than it may, there is no other one: what it gives in the end is taken
    /// by whoever asks next.
    pub fn blocking_token_source<F, E>(self, source: F) -> Self
    where
        F: Fn() -> Result<String, E> + Send + Sync + 'static,
        E: Into<TokenError>,
    {
        self.with_tokens(TokenSource::blocking(source))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test]
    async fn a_function_that_hangs_is_not_called_a_second_time() {
        let (entered, mut enters) = tokio::sync::mpsc::unbounded_channel();
        let (go, goes) = std::sync::mpsc::channel();
        let goes = std::sync::Mutex::new(goes);
        let source = TokenSource::blocking(move || {
            entered.send(()).unwrap();
            goes.lock().unwrap().recv()
        });
        // Whoever asked first has given up.
        assert!(source.ask(None).now_or_never().is_none());
        enters.recv().await.unwrap();
        assert!(source.ask(None).now_or_never().is_none());
        go.send("late".to_owned()).unwrap();
        assert_eq!(source.ask(None).await.unwrap(), "late");
        assert!(enters.try_recv().is_err(), "it was called once");
        go.send("next".to_owned()).unwrap();
        assert_eq!(source.ask(None).await.unwrap(), "next");
        assert!(enters.try_recv().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_may_take_so_long() {
        for (ms, is_in_time) in
            [(TOKEN_MS_MAX - 1, true), (TOKEN_MS_MAX, true), (TOKEN_MS_MAX + 1, false)]
        {
            let ask = move || {
                let token = async move {
                    sleep(Duration::from_millis(ms)).await;
                    Ok("a token".to_owned())
                };
                token.boxed()
            };
            let start = Instant::now();
            let asked = TokenSource(Arc::new(ask)).ask(None).await;
            assert_eq!(start.elapsed().as_millis() as u64, ms.min(TOKEN_MS_MAX));
            match asked {
                Ok(token) => assert_eq!((token.as_str(), is_in_time), ("a token", true)),
                Err(error) => {
                    assert!(matches!(error, LineError::NoToken(_)) && !is_in_time, "{error}");
                }
            }
        }
    }
}
