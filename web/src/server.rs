//! Binding, running and stopping the server.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;

use actix_web::middleware::{Compress, NormalizePath, TrailingSlash, from_fn};
use actix_web::{App, HttpServer, web};
use plumbline_service::Service;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::config::WebConfig;
use crate::envelope::envelope;
use crate::limit::Limiter;
use crate::news::{Listing, News, SharedNews};
use crate::routes;
use crate::state::AppState;
use crate::tail::{self, Tail};
use crate::templates::{TemplateError, Templates};
use crate::traffic::Traffic;
use crate::waiters::Waiters;
use crate::wake;

/// Seconds that open requests get to finish when the server stops.
const SHUTDOWN_S: u64 = 5;

/// Why the server did not start, or ended badly.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// Another program listens there.
    #[error(
        "{0} is in use: stop the program that listens there, or choose another address with --listen"
    )]
    AddressInUse(SocketAddr),
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {cause}; choose another address with --listen")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        cause: std::io::Error,
    },
    /// An embedded template is broken.
    #[error(transparent)]
    Templates(#[from] TemplateError),
    /// The server's thread or event loop failed.
    #[error("the web server failed: {0}")]
    Server(String),
}

/// A server that is answering. Dropping it leaves it running; call [`RunningServer::stop`].
#[derive(Debug)]
pub struct RunningServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: JoinHandle<Result<(), WebError>>,
}

impl RunningServer {
    /// The address it listens on, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// `http://address`, for messages and clients on this machine.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends event streams and long polls, lets other requests finish for a few seconds, and returns when all is done.
    pub fn stop(mut self) -> Result<(), WebError> {
        if let Some(stop) = self.stop.take() {
            // An error means that the server has ended by itself; joining tells why.
            let _ = stop.send(());
        }
        self.wait()
    }

    /// Blocks until the server ends.
    pub fn wait(self) -> Result<(), WebError> {
        match self.thread.join() {
            Ok(result) => result,
            Err(_) => Err(WebError::Server("its thread panicked".to_owned())),
        }
    }
}

/// Starts serving on threads of its own and returns at once; needs no async runtime around it.
///
/// Errors: the address cannot be bound, or an embedded template is broken.
pub fn serve(service: Service, config: WebConfig) -> Result<RunningServer, WebError> {
    let templates = Templates::load()?;
    let listener = bind(config.listen)?;
    started(listener, "web", async move |listener, stopped| {
        run(service, config, templates, listener, stopped).await
    })
}

/// Runs a server on a thread of its own.
pub(crate) fn started<F>(
    listener: TcpListener,
    name: &str,
    run: F,
) -> Result<RunningServer, WebError>
where
    F: AsyncFnOnce(TcpListener, oneshot::Receiver<()>) -> Result<(), WebError> + Send + 'static,
{
    let address = listener
        .local_addr()
        .map_err(|error| WebError::Server(error.to_string()))?;
    let (stop, stopped) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || actix_web::rt::System::new().block_on(run(listener, stopped)))
        .map_err(|error| WebError::Server(error.to_string()))?;
    Ok(RunningServer {
        address,
        stop: Some(stop),
        thread,
    })
}

pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener, WebError> {
    TcpListener::bind(address).map_err(|cause| match cause.kind() {
        ErrorKind::AddrInUse => WebError::AddressInUse(address),
        _ => WebError::Bind { address, cause },
    })
}

async fn run(
    service: Service,
    config: WebConfig,
    templates: Templates,
    listener: TcpListener,
    stopped: oneshot::Receiver<()>,
) -> Result<(), WebError> {
    let (stopping_sender, stopping) = watch::channel(false);
    let (feeds, followers) = follow(&service, stopping)?;
    let workers = config.workers.max(1);
    let state = web::Data::new(state(service, config, templates, feeds));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(state.clone())
            .wrap(from_fn(envelope))
            .wrap(Compress::default())
            .wrap(NormalizePath::new(TrailingSlash::Trim))
            .configure(routes::configure)
    })
    .workers(workers)
    // A client that hangs up is not worked for: neither its poll nor the text that it asked for goes on.
    .h1_allow_half_closed(false)
    .disable_signals()
    .shutdown_timeout(SHUTDOWN_S)
    .listen(listener)
    .map_err(|error| WebError::Server(error.to_string()))?
    .run();
    let handle = server.handle();
    let stopper = actix_web::rt::spawn(async move {
        // A dropped handle leaves the server running, as its documentation says.
        if stopped.await.is_ok() {
            stopping_sender.send_replace(true);
            handle.stop(true).await;
        } else {
            std::future::pending::<()>().await;
        }
    });
    let ended = server
        .await
        .map_err(|error| WebError::Server(error.to_string()));
    stopper.abort();
    for follower in followers {
        follower.abort();
    }
    ended
}

/// Starts to follow what the service commits, for those who wait for it.
fn follow(
    service: &Service,
    stopping: watch::Receiver<bool>,
) -> Result<(Feeds, [tokio::task::JoinHandle<()>; 2]), WebError> {
    let newest = service
        .allocations_version(&wake::house_reader())
        .map_err(|error| WebError::Server(error.to_string()))?;
    let (news, allocations) = watch::channel(Arc::new(News::none_since(newest)));
    let feeds = Feeds {
        tail: Arc::default(),
        allocations,
        concerned: Arc::default(),
        followed: Arc::default(),
        stopping,
    };
    let commits = wake::commits(service);
    let decided = wake::follow_allocations(
        service.clone(),
        commits.clone(),
        feeds.stopping.clone(),
        news,
        Arc::clone(&feeds.concerned),
        Arc::clone(&feeds.followed),
    );
    let happened = tail::follow_events(
        service.clone(),
        commits,
        feeds.stopping.clone(),
        Arc::clone(&feeds.tail),
    );
    let told = Arc::downgrade(&feeds.tail);
    service.on_notices(move |account| {
        let told = told.upgrade();
        told.inspect(|tail| tail.wake_reader(account)).is_some()
    });
    let followers = [
        actix_web::rt::spawn(decided),
        actix_web::rt::spawn(happened),
    ];
    Ok((feeds, followers))
}

/// What requests that wait are woken by.
struct Feeds {
    tail: Arc<Tail>,
    allocations: watch::Receiver<SharedNews>,
    concerned: Arc<Waiters>,
    followed: Arc<AtomicU64>,
    stopping: watch::Receiver<bool>,
}

fn state(service: Service, config: WebConfig, templates: Templates, feeds: Feeds) -> AppState {
    let limits = config.limits;
    AppState {
        service,
        templates,
        tail: feeds.tail,
        allocations: feeds.allocations,
        concerned: feeds.concerned,
        followed: feeds.followed,
        listing: Listing::default(),
        stopping: feeds.stopping,
        streams: Arc::new(Semaphore::new(config.max_streams)),
        completions: Arc::new(Semaphore::new(config.max_completions.max(1))),
        traffic: Traffic::default(),
        requests: Limiter::new(limits.requests_per_second, limits.requests_per_second * 2.0),
        accounts: Limiter::new(
            limits.account_requests_per_second,
            limits.account_requests_per_second * 2.0,
        ),
        credentials: Limiter::new(
            limits.credentials_per_minute / 60.0,
            limits.credentials_per_minute,
        ),
        config,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_port_in_use_says_what_to_do() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let message = bind(taken.local_addr().unwrap()).unwrap_err().to_string();
        assert!(
            message.contains("--listen") && !message.contains('\n'),
            "{message}"
        );
    }
}
