use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const OPEN: u8 = 0;
const FROZEN: u8 = 1;
const FREEZE_WHO_TAKES: u8 = 2;
/// How often a frozen wire looks whether it is to go on.
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// Between a worker and PostgreSQL. It can freeze, at once or in the middle of taking partitions, and it can cut a
/// connection between a COMMIT and its answer. Dropping it cuts all of its connections.
pub struct Wire {
    state: Arc<State>,
    database_url: String,
    _carrying: JoinSet<()>,
}

#[derive(Default)]
struct State {
    mode: AtomicU8,
    cuts_left: AtomicU32,
}

impl Wire {
    /// Listens on a port of its own.
    ///
    /// # Panics
    /// `database_url` names no host, or no port is free.
    pub async fn open(database_url: &str) -> Self {
        let address = database_url.split("://").nth(1).expect("a URL").rsplit('@').next().expect("a host");
        let target = address.split('/').next().expect("a host").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let state = Arc::new(State::default());
        let mut carrying = JoinSet::new();
        carrying.spawn(listen(listener, target.clone(), Arc::clone(&state)));
        Self { state, database_url: database_url.replace(&target, &format!("127.0.0.1:{port}")), _carrying: carrying }
    }

    /// The address of the database through it.
    pub fn database_url(&self) -> String {
        self.database_url.clone()
    }

    /// Carries nothing from now on, and keeps what comes.
    pub fn freeze(&self) {
        self.state.mode.store(FROZEN, Ordering::SeqCst);
    }

    /// Freezes once somebody through it takes partitions: the leases are locked by then, and their predecessors' sessions
    /// about to be ended.
    pub fn freeze_who_takes(&self) {
        self.state.mode.store(FREEZE_WHO_TAKES, Ordering::SeqCst);
    }

    /// Carries on, with what has come meanwhile first.
    pub fn thaw(&self) {
        self.state.mode.store(OPEN, Ordering::SeqCst);
    }

    /// Whether it carries nothing.
    pub fn is_frozen(&self) -> bool {
        self.state.mode.load(Ordering::SeqCst) == FROZEN
    }

    /// Cuts the connections of the next `count` COMMITs, each once the server has answered and before the client hears it.
    pub fn cut_commits(&self, count: u32) {
        self.state.cuts_left.store(count, Ordering::SeqCst);
    }

    /// How many of those are still to come.
    pub fn cuts_left(&self) -> u32 {
        self.state.cuts_left.load(Ordering::SeqCst)
    }
}

async fn listen(listener: TcpListener, target: String, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (target, state) = (target.clone(), Arc::clone(&state));
        connections.spawn(async move {
            if let Ok(server) = TcpStream::connect(target).await {
                state.carry(client, server).await;
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

impl State {
    async fn carry(&self, client: TcpStream, server: TcpStream) {
        let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
            (client.into_split(), server.into_split());
        let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        loop {
            tokio::select! {
                n = from_client.read(&mut up) => {
                    let Ok(n @ 1..) = n else { return };
                    let takes = || up[..n].windows(13).any(|w| w == b"WITH sessions");
                    if self.mode.load(Ordering::SeqCst) == FREEZE_WHO_TAKES && takes() {
                        self.mode.store(FROZEN, Ordering::SeqCst);
                    }
                    self.thawed().await;
                    let commit = up[..n].windows(7).any(|w| w == b"COMMIT\0");
                    if to_server.write_all(&up[..n]).await.is_err() { return }
                    if commit && self.cuts_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
                        // The server commits; the answer is lost.
                        let _ = from_server.read(&mut down).await;
                        return;
                    }
                }
                n = from_server.read(&mut down) => {
                    let Ok(n @ 1..) = n else { return };
                    self.thawed().await;
                    if to_client.write_all(&down[..n]).await.is_err() { return }
                }
            }
        }
    }

    async fn thawed(&self) {
        while self.mode.load(Ordering::SeqCst) == FROZEN {
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }
}
