//! Routes that cannot do without an action.
//!
//! A route is mounted with the [`Action`] that it stands for, and its handler behind a gate: who asks is
//! identified and the policy asked before the body is read and before anything of the handler runs. There is
//! no other way to mount one, so a route that nobody thought of permitting does not exist.

use actix_web::dev::Payload;
use actix_web::guard::{self, GuardContext};
use actix_web::http::Method;
use actix_web::web::ServiceConfig;
use actix_web::{FromRequest, Handler, HttpMessage, HttpRequest, Responder, web};
use futures_util::future::LocalBoxFuture;
use plumbline_service::Action;

use crate::auth::admit;

/// A route that was mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// Its method.
    pub method: Method,
    /// Its pattern, with names in braces.
    pub path: String,
    /// What the policy is asked for.
    pub action: Action,
}

/// Where routes are mounted, under a common prefix.
pub(crate) struct Routes<'a> {
    app: &'a mut ServiceConfig,
    prefix: &'static str,
    mounted: &'a mut Vec<Mounted>,
}

impl<'a> Routes<'a> {
    /// The routes of an application; what is mounted is added to `mounted`.
    pub(crate) fn new(app: &'a mut ServiceConfig, mounted: &'a mut Vec<Mounted>) -> Self {
        Self {
            app,
            prefix: "",
            mounted,
        }
    }

    /// Mounts a path with its routes.
    pub(crate) fn service(&mut self, resource: Resource) -> &mut Self {
        let Resource { path, routes } = resource;
        let mut inner = web::resource(path);
        for route in routes {
            self.mounted.push(Mounted {
                method: route.method,
                path: format!("{}{path}", self.prefix),
                action: route.action,
            });
            inner = inner.route(route.inner);
        }
        self.app.service(inner);
        self
    }

    /// Mounts what `add` mounts.
    pub(crate) fn configure(&mut self, add: impl FnOnce(&mut Routes<'_>)) -> &mut Self {
        add(self);
        self
    }

    /// Mounts what `add` mounts, under `prefix`.
    pub(crate) fn scope(
        &mut self,
        prefix: &'static str,
        add: impl FnOnce(&mut Routes<'_>),
    ) -> &mut Self {
        let mounted = &mut *self.mounted;
        let scope = web::scope(prefix).configure(|app| {
            add(&mut Routes {
                app,
                prefix,
                mounted,
            });
        });
        self.app.service(scope);
        self
    }

    /// What answers every address that nothing else does.
    pub(crate) fn otherwise<H, Args>(&mut self, action: Action, handler: H)
    where
        H: Handler<Args>,
        H::Output: Responder + 'static,
        Args: FromRequest + 'static,
    {
        let answer = move |request: HttpRequest, payload: web::Payload| {
            let handler = handler.clone();
            async move {
                request.extensions_mut().insert(action);
                let mut payload = payload.into_inner();
                let admitted = Admitted::<Args>::from_request(&request, &mut payload).await?;
                Ok::<_, actix_web::Error>(handler.call(admitted.0).await)
            }
        };
        self.app.default_service(web::to(answer));
    }
}

/// A path and its routes.
pub(crate) struct Resource {
    path: &'static str,
    routes: Vec<Route>,
}

/// A path; see [`Resource::route`].
pub(crate) fn resource(path: &'static str) -> Resource {
    Resource {
        path,
        routes: Vec::new(),
    }
}

impl Resource {
    /// Adds what answers one method.
    pub(crate) fn route(mut self, route: Route) -> Self {
        self.routes.push(route);
        self
    }
}

/// What answers one method of a path.
pub(crate) struct Route {
    method: Method,
    action: Action,
    inner: actix_web::Route,
}

/// A method with its action, still without a handler.
pub(crate) struct Unanswered {
    method: Method,
    action: Action,
}

macro_rules! methods {
    ($($name:ident = $method:ident;)*) => {$(
        /// A route of that method, for what `action` stands for.
        pub(crate) fn $name(action: Action) -> Unanswered {
            Unanswered { method: Method::$method, action }
        }
    )*};
}

methods! {
    get = GET;
    post = POST;
    put = PUT;
    delete = DELETE;
}

impl Unanswered {
    /// The route, answered by `handler` to whom the policy permits.
    pub(crate) fn to<H, Args>(self, handler: H) -> Route
    where
        H: Handler<Args>,
        H::Output: Responder + 'static,
        Args: FromRequest + 'static,
    {
        let Self { method, action } = self;
        // A guard is asked once the path fits and is the one place that may leave something in the request.
        let name_action = guard::fn_guard(move |context: &GuardContext<'_>| {
            context.req_data_mut().insert(action);
            true
        });
        let inner = web::method(method.clone())
            .guard(name_action)
            .to::<_, (Admitted<Args>,)>(Gated(handler));
        Route {
            method,
            action,
            inner,
        }
    }
}

/// A handler behind the gate.
#[derive(Clone)]
struct Gated<H>(H);

impl<H, Args> Handler<(Admitted<Args>,)> for Gated<H>
where
    H: Handler<Args>,
{
    type Output = H::Output;
    type Future = H::Future;

    fn call(&self, (Admitted(args),): (Admitted<Args>,)) -> Self::Future {
        self.0.call(args)
    }
}

/// What a handler takes, taken only after the caller was let in.
struct Admitted<Args>(Args);

impl<Args: FromRequest + 'static> FromRequest for Admitted<Args> {
    type Error = actix_web::Error;
    type Future = LocalBoxFuture<'static, Result<Self, Self::Error>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (req, mut payload) = (req.clone(), payload.take());
        Box::pin(async move {
            admit(&req).await?;
            let args = Args::from_request(&req, &mut payload).await;
            args.map(Self).map_err(Into::into)
        })
    }
}
