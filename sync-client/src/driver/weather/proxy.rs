//! What stands between clients and their hub, and what it does to connections.

#![allow(clippy::wildcard_enum_match_arm, reason = "most faults do nothing at most places")]

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sync_faults::Random;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::time::{Instant, sleep};

use super::hub::Hub;

/// What a connection holds in each direction, in bytes.
const BUFFER_BYTES: usize = 16 * 1024;

/// For how long a half-open connection stays at the hub once its client has gone: longer than it takes.
const LINGERS: Duration = Duration::from_secs(90);

/// What is wrong with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing.
    None,
    /// Nobody is there.
    Refused,
    /// Nobody answers.
    Unanswered,
    /// Bytes take a while.
    Delayed,
    /// Few bytes go in a second.
    Throttled,
    /// It ends at some byte.
    Cut,
    /// Some bytes never come, others do.
    Dropped,
    /// What the client says reaches the hub twice, over another connection.
    Duplicated,
    /// It stays, and from some byte on nothing comes up.
    DeafUp,
    /// Nothing comes down.
    DeafDown,
    /// Nothing comes either way.
    DeafBoth,
}

pub(super) const FAULTS: usize = 11;

impl Fault {
    pub(super) const ALL: [Self; FAULTS] = [
        Self::None,
        Self::Refused,
        Self::Unanswered,
        Self::Delayed,
        Self::Throttled,
        Self::Cut,
        Self::Dropped,
        Self::Duplicated,
        Self::DeafUp,
        Self::DeafDown,
        Self::DeafBoth,
    ];

    fn is_deaf(self) -> bool {
        matches!(self, Self::DeafUp | Self::DeafDown | Self::DeafBoth)
    }
}

#[derive(Clone)]
pub(super) struct Proxy {
    hub: Hub,
    weather: Arc<Mutex<Weather>>,
}

struct Weather {
    random: Random,
    is_clear: bool,
    start: Instant,
    dials: Vec<(u64, usize, Fault)>,
}

impl Proxy {
    pub(super) fn new(hub: Hub, seed: u64) -> Self {
        let (random, dials, start) = (Random(seed), Vec::new(), Instant::now());
        let weather = Weather { random, is_clear: false, start, dials };
        Self { hub, weather: Arc::new(Mutex::new(weather)) }
    }

    /// From here on nothing is wrong with new connections.
    pub(super) fn clear_up(&self) {
        self.weather.lock().unwrap().is_clear = true;
    }

    /// How often each fault came, and each dial.
    pub(super) fn played(&self) -> ([usize; FAULTS], Vec<(u64, usize, Fault)>) {
        let dials = self.weather.lock().unwrap().dials.clone();
        let count = |fault| dials.iter().filter(|(_, _, found)| *found == fault).count();
        (Fault::ALL.map(count), dials)
    }

    /// Connects a device.
    pub(super) async fn dial(self, device: usize) -> io::Result<DuplexStream> {
        let (fault, seed) = {
            let weather = &mut *self.weather.lock().unwrap();
            let (drawn, seed) = (weather.random.draw() as usize, weather.random.draw());
            let fault = if weather.is_clear { Fault::None } else { Fault::ALL[drawn % FAULTS] };
            weather.dials.push((weather.start.elapsed().as_millis() as u64, device, fault));
            (fault, seed)
        };
        match fault {
            Fault::Refused => return Err(io::ErrorKind::ConnectionRefused.into()),
            Fault::Unanswered => std::future::pending().await,
            _ => {}
        }
        let (client, near) = duplex(BUFFER_BYTES);
        let far = self.to_hub();
        let twin = (fault == Fault::Duplicated).then(|| self.to_hub());
        tokio::spawn(carry(near, far, twin, fault, seed));
        Ok(client)
    }

    fn to_hub(&self) -> DuplexStream {
        let (far, at_hub) = duplex(BUFFER_BYTES);
        tokio::spawn(self.hub.clone().serve(at_hub));
        far
    }
}

/// Carries bytes both ways until either ends; then both do, but where the hub is not to hear of it.
async fn carry(
    near: DuplexStream,
    far: DuplexStream,
    twin: Option<DuplexStream>,
    fault: Fault,
    seed: u64,
) {
    let ((from_client, to_client), (from_hub, to_hub)) = (split(near), split(far));
    let twin = twin.map(|twin| {
        let (mut answers, twin) = split(twin);
        tokio::spawn(async move {
            let mut bytes = [0; 4096];
            while answers.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
        });
        twin
    });
    let mut up = Pump::new(fault, seed, fault != Fault::DeafDown);
    let mut down = Pump::new(fault, !seed, fault != Fault::DeafUp);
    let (mut to_hub, mut to_client, mut twin, mut none) = (to_hub, to_client, twin, None);
    tokio::select! {
        biased;
        () = up.run(from_client, &mut to_hub, &mut twin) => {}
        () = down.run(from_hub, &mut to_client, &mut none) => {}
    }
    if fault.is_deaf() {
        sleep(LINGERS).await;
    }
}

/// One direction.
struct Pump {
    fault: Fault,
    random: Random,
    /// After how many bytes something happens.
    left: usize,
    is_deaf: bool,
}

impl Pump {
    fn new(fault: Fault, seed: u64, is_hit: bool) -> Self {
        let mut random = Random(seed);
        // Some during the handshake, most in the middle of something.
        let left = (random.draw() % 3_000) as usize;
        Self { fault, random, left, is_deaf: fault.is_deaf() && is_hit }
    }

    async fn run(
        &mut self,
        mut from: ReadHalf<DuplexStream>,
        to: &mut WriteHalf<DuplexStream>,
        twin: &mut Option<WriteHalf<DuplexStream>>,
    ) {
        let mut bytes = [0; 1024];
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            let mut sent = &bytes[..count];
            let is_hit = self.left < count;
            match self.fault {
                Fault::Delayed => sleep(self.draw_ms(800)).await,
                Fault::Throttled => sleep(Duration::from_millis(count as u64)).await,
                Fault::Cut if is_hit => {
                    let _ = to.write_all(&sent[..self.left]).await;
                    return;
                }
                Fault::Dropped if is_hit => {
                    sent = &sent[self.left..];
                    self.left = usize::MAX;
                }
                _ if self.is_deaf && is_hit => sent = &[],
                _ => {}
            }
            if self.left != usize::MAX {
                self.left = self.left.saturating_sub(count);
            }
            if to.write_all(sent).await.is_err() {
                return;
            }
            if let Some(twin) = twin {
                // It may be closed sooner.
                let _ = twin.write_all(sent).await;
            }
        }
    }

    fn draw_ms(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.random.draw() % most)
    }
}
