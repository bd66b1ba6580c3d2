//! What the hub says in plain HTTP: the upgrade to WebSocket, its health, and static files.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, ORIGIN,
    SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tower_http::services::ServeDir;

use crate::doors::{Place, may_enter};
use crate::metrics::TurnedAway;
use crate::options::Options;
use crate::socket;
use crate::writer::WriterHandle;

/// What a page of ours may load: its own files, WASM, and any hub that it is told of.
const POLICY: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; \
    style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; \
    connect-src 'self' ws: wss:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; \
    frame-ancestors 'none'";

const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the handlers share.
#[derive(Debug, Clone)]
struct Shared {
    writer: WriterHandle,
    options: Arc<Options>,
    /// Whether the hub is on this machine alone.
    is_loopback: bool,
    /// Held by each connection for as long as it lives.
    alive: mpsc::Sender<()>,
}

/// The routes of a hub.
pub(crate) fn router(
    options: &Arc<Options>,
    is_loopback: bool,
    writer: WriterHandle,
    alive: mpsc::Sender<()>,
) -> Router {
    let router = Router::new()
        .route("/sync", get(upgrade))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Shared { writer, options: options.clone(), is_loopback, alive });
    match &options.static_dir {
        Some(folder) => {
            let files = Router::new().fallback_service(ServeDir::new(folder));
            router.merge(files.layer(from_fn(with_headers)))
        }
        None => router,
    }
}

/// Whether the hub can store, and how far it is.
async fn health(State(shared): State<Shared>) -> Response {
    let health = shared.writer.health();
    let is_failing = health.is_failing.load(Ordering::Relaxed);
    let (code, status) = if is_failing {
        (StatusCode::SERVICE_UNAVAILABLE, "failing")
    } else {
        (StatusCode::OK, "ok")
    };
    let body = serde_json::json!({
        "status": status,
        "version": env!("CARGO_PKG_VERSION"),
        "seq": health.seq.load(Ordering::Relaxed),
        "connections": health.connections.load(Ordering::Relaxed),
    });
    (code, [(CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// Whether clients may be sent here, and if not, why.
async fn ready(State(shared): State<Shared>) -> Response {
    let (code, text) = if shared.writer.health().is_failing.load(Ordering::Relaxed) {
        (StatusCode::SERVICE_UNAVAILABLE, "the storage fails: nothing is taken; the log says why\n")
    } else {
        (StatusCode::OK, "ready\n")
    };
    (code, [(CACHE_CONTROL, "no-store")], text).into_response()
}

/// What is counted, for Prometheus.
async fn metrics(State(shared): State<Shared>) -> Response {
    match shared.writer.health().metrics.text() {
        Ok(text) => {
            ([(CONTENT_TYPE, METRICS_TYPE), (CACHE_CONTROL, "no-store")], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Makes a WebSocket of the connection (RFC 6455, section 4.2).
async fn upgrade(State(shared): State<Shared>, mut request: Request) -> Response {
    let headers = request.headers();
    let is_asked = has_token(headers, &UPGRADE, "websocket")
        && has_token(headers, &CONNECTION, "upgrade")
        && has_token(headers, &SEC_WEBSOCKET_VERSION, "13");
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|_| is_asked);
    let Some(accept) = key.map(|key| derive_accept_key(key.as_bytes())) else {
        let headers = [(UPGRADE, "websocket"), (SEC_WEBSOCKET_VERSION, "13")];
        return (StatusCode::UPGRADE_REQUIRED, headers, "a WebSocket is expected here\n")
            .into_response();
    };
    if let Some(origin) = headers.get(ORIGIN) {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        let origin = origin.to_str().unwrap_or_default();
        if !may_enter(origin, host, &shared.options.origins, shared.is_loopback) {
            shared.writer.health().metrics.turned_away(TurnedAway::Origin);
            tracing::warn!(origin, "a page of this origin may not connect; allow it by --origin");
            let body = "pages of this origin may not connect to this hub\n";
            return (StatusCode::FORBIDDEN, body).into_response();
        }
    }
    let upgrade = hyper::upgrade::on(&mut request);
    let place = request.extensions_mut().remove::<Arc<Place>>();
    tokio::spawn(async move {
        let Shared { writer, options, alive, .. } = shared;
        match upgrade.await {
            Ok(upgraded) => {
                socket::serve(TokioIo::new(upgraded), &writer, options.keys.as_ref()).await;
            }
            Err(error) => tracing::debug!("an upgrade failed: {error}"),
        }
        drop((place, alive));
    });
    let headers =
        [(UPGRADE, "websocket"), (CONNECTION, "Upgrade"), (SEC_WEBSOCKET_ACCEPT, accept.as_str())];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

/// Whether a header lists a token, in whatever case.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
}

/// Adds to static files what browsers are to know of them. Files below `assets/` have a hash in their
/// names; all others are asked for again.
async fn with_headers(request: Request, next: Next) -> Response {
    let is_hashed = request.uri().path().starts_with("/assets/");
    let mut response = next.run(request).await;
    let is_found = response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED;
    let cache =
        if is_hashed && is_found { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::writer;

    #[tokio::test]
    async fn a_hub_that_cannot_store_is_not_ready_and_says_why() {
        let folder = TempDir::new().unwrap();
        let options = Arc::new(Options::new(folder.path()));
        let writer = writer::start(&options).unwrap().handle;
        let alive = mpsc::channel(1).0;
        let shared = Shared { writer, options, is_loopback: true, alive };
        for (is_failing, status) in
            [(false, StatusCode::OK), (true, StatusCode::SERVICE_UNAVAILABLE)]
        {
            shared.writer.health().is_failing.store(is_failing, Ordering::Relaxed);
            assert_eq!(ready(State(shared.clone())).await.status(), status);
            assert_eq!(health(State(shared.clone())).await.status(), status);
        }
    }
}
