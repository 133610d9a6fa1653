//! The bridge from the event loop to the service.

use actix_web::web;
use plumbline_service::Service;

use crate::problem::Problem;

/// Runs a use case on a thread that may block.
///
/// Errors: the service's own, or 500 when the use case panicked.
pub(crate) async fn blocking<T, F>(service: &Service, use_case: F) -> Result<T, Problem>
where
    T: Send + 'static,
    F: FnOnce(&Service) -> plumbline_service::Result<T> + Send + 'static,
{
    let (service, span) = (service.clone(), tracing::Span::current());
    match web::block(move || span.in_scope(|| use_case(&service))).await {
        Ok(answer) => answer.map_err(Problem::from),
        Err(cancelled) => Err(Problem::internal(cancelled)),
    }
}
