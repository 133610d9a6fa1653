//! Accounts of people: signing in and up, credentials, invitations.

use plumbline_service::Action;

use crate::api::{accounts, passkeys, people};
use crate::pages::{account, invitations, passkeys as passkey_pages, security, session};
use crate::routing::{Routes, delete, get, post, resource};

/// The endpoints.
pub(super) fn api(api: &mut Routes<'_>) {
    api.service(resource("/accounts").route(post(Action::SignUp).to(accounts::sign_up)))
        .service(
            resource("/sessions")
                .route(get(Action::ListSessions).to(people::sessions))
                .route(post(Action::SignIn).to(accounts::sign_in))
                .route(delete(Action::SignOut).to(accounts::sign_out)),
        )
        .service(resource("/me").route(get(Action::ReadOwnAccount).to(accounts::me)))
        .service(
            resource("/tokens")
                .route(get(Action::ListTokens).to(accounts::tokens))
                .route(post(Action::CreateToken).to(accounts::create_token)),
        )
        .service(
            resource("/tokens/{id}").route(delete(Action::RevokeToken).to(accounts::revoke_token)),
        );
    credentials(api);
    keys_of_devices(api);
}

/// Passkeys, and signing in with them.
fn keys_of_devices(api: &mut Routes<'_>) {
    api.service(
        resource("/me/passkeys")
            .route(get(Action::ManagePasskeys).to(passkeys::passkeys))
            .route(post(Action::ManagePasskeys).to(passkeys::add_passkey)),
    )
    .service(
        resource("/me/passkeys/options")
            .route(post(Action::ManagePasskeys).to(passkeys::begin_passkey)),
    )
    .service(
        resource("/me/passkeys/{id}")
            .route(delete(Action::ManagePasskeys).to(passkeys::remove_passkey)),
    )
    .service(
        resource("/passkey-sessions")
            .route(post(Action::SignIn).to(passkeys::sign_in_with_passkey)),
    )
    .service(
        resource("/passkey-sessions/options")
            .route(post(Action::SignIn).to(passkeys::begin_passkey_sign_in)),
    );
}

/// Passwords, second factors, sessions, invitations.
fn credentials(api: &mut Routes<'_>) {
    api.service(
        resource("/sessions/{id}").route(delete(Action::RevokeSession).to(people::revoke_session)),
    )
    .service(
        resource("/me/password").route(post(Action::ChangePassword).to(people::change_password)),
    )
    .service(
        resource("/me/second-factor")
            .route(get(Action::ManageSecondFactor).to(people::second_factor))
            .route(post(Action::ManageSecondFactor).to(people::begin_second_factor)),
    )
    .service(
        resource("/me/second-factor/confirmation")
            .route(post(Action::ManageSecondFactor).to(people::confirm_second_factor)),
    )
    .service(
        resource("/me/second-factor/removal")
            .route(post(Action::ManageSecondFactor).to(people::remove_second_factor)),
    )
    .service(resource("/me/export").route(get(Action::ExportAccount).to(people::export)))
    .service(resource("/me/closure").route(post(Action::CloseAccount).to(people::close)))
    .service(
        resource("/invitations")
            .route(get(Action::ListInvitations).to(people::invitations))
            .route(post(Action::Invite).to(people::invite)),
    )
    .service(
        resource("/invitations/{id}")
            .route(delete(Action::RevokeInvitation).to(people::revoke_invitation)),
    );
}

/// The pages.
pub(super) fn pages(app: &mut Routes<'_>) {
    app.service(resource("/account").route(get(Action::ReadStatement).to(account::show)))
        .service(
            resource("/account/tokens").route(post(Action::CreateToken).to(account::create_token)),
        )
        .service(
            resource("/account/tokens/{id}/revoke")
                .route(post(Action::RevokeToken).to(account::revoke_token)),
        )
        .service(
            resource("/login")
                .route(get(Action::SignIn).to(session::login_form))
                .route(post(Action::SignIn).to(session::login)),
        )
        .service(resource("/login/passkey").route(post(Action::SignIn).to(passkey_pages::sign_in)))
        .service(
            resource("/signup")
                .route(get(Action::SignUp).to(session::sign_up_form))
                .route(post(Action::SignUp).to(session::sign_up)),
        )
        .service(
            resource("/setup")
                .route(get(Action::SetUp).to(session::set_up_form))
                .route(post(Action::SetUp).to(session::set_up)),
        )
        .service(resource("/logout").route(post(Action::SignOut).to(session::logout)));
    credential_pages(app);
}

/// One's own credentials, and inviting others.
fn credential_pages(app: &mut Routes<'_>) {
    app.service(resource("/account/security").route(get(Action::ListSessions).to(security::show)))
        .service(
            resource("/account/password")
                .route(post(Action::ChangePassword).to(security::password)),
        )
        .service(
            resource("/account/second-factor")
                .route(post(Action::ManageSecondFactor).to(security::begin)),
        )
        .service(
            resource("/account/second-factor/confirm")
                .route(post(Action::ManageSecondFactor).to(security::confirm)),
        )
        .service(
            resource("/account/second-factor/remove")
                .route(post(Action::ManageSecondFactor).to(security::remove)),
        )
        .service(
            resource("/account/passkeys")
                .route(post(Action::ManagePasskeys).to(passkey_pages::add)),
        )
        .service(
            resource("/account/passkeys/{id}/remove")
                .route(post(Action::ManagePasskeys).to(passkey_pages::remove)),
        )
        .service(
            resource("/account/sessions/{id}/revoke")
                .route(post(Action::RevokeSession).to(security::revoke)),
        )
        .service(resource("/account/export").route(get(Action::ExportAccount).to(people::export)))
        .service(resource("/account/close").route(post(Action::CloseAccount).to(security::close)))
        .service(
            resource("/invitations")
                .route(get(Action::ListInvitations).to(invitations::show))
                .route(post(Action::Invite).to(invitations::create)),
        )
        .service(
            resource("/invitations/{id}/revoke")
                .route(post(Action::RevokeInvitation).to(invitations::revoke)),
        );
}
