//! Attacks on signing in. Each runs twice: with all defences, where the attacker gains nothing, and with one of
//! them switched off, where it gets in; so that every test fails if its defence is taken out.
#![allow(clippy::unwrap_used)]

mod support;

use plumbline_service::commands::{
    AddPasskey, BeginPasskey, ConfirmSecondFactor, GivePassword, Login, PasskeyLogin,
};
use plumbline_service::time::Clock;
use plumbline_service::totp::code_of;
use plumbline_service::{Result, views};
use support::device::Device;
use support::*;

/// A service with an account that asks for one-time codes, whose password the attacker knows.
struct Target {
    world: World,
    secret: String,
}

impl Target {
    fn with(defence: &str, on: bool) -> Self {
        let world = World::with(false, |config| {
            if !on {
                assert!(config.defences.switch_off(defence));
            }
        });
        let ada = world.person("ada");
        let password = GivePassword {
            password: PASSWORD.into(),
        };
        let key = world.service.begin_second_factor(&ada, &password).unwrap();
        let target = Self {
            world,
            secret: key.secret,
        };
        let confirm = ConfirmSecondFactor {
            code: target.shown(),
        };
        target
            .world
            .service
            .confirm_second_factor(&ada, &confirm)
            .unwrap();
        target.world.pass(60_000);
        target
    }

    /// What the owner's authenticator shows now.
    fn shown(&self) -> String {
        code_of(&self.secret, self.world.clock.now()).unwrap()
    }

    fn sign_in(&self, code: &str) -> Result<views::SessionOpened> {
        self.world.service.login(&Login {
            handle: "ada".into(),
            password: PASSWORD.into(),
            code: Some(code.into()),
        })
    }
}

/// Somebody who looks over the owner's shoulder types the same code a moment later.
fn over_the_shoulder(on: bool) -> bool {
    let target = Target::with("code_once", on);
    let seen = target.shown();
    target.sign_in(&seen).unwrap();
    target.world.pass(1_000);
    target.sign_in(&seen).is_ok()
}

#[test]
fn a_code_that_was_seen_is_worth_nothing() {
    assert!(!over_the_shoulder(true));
    assert!(over_the_shoulder(false));
}

/// Somebody guesses, and hits the right code with the twentieth guess of one period.
fn guessing(on: bool) -> bool {
    let target = Target::with("code_waits", on);
    let right = target.shown();
    let wrong = if right == "000000" {
        "000001"
    } else {
        "000000"
    };
    for _ in 0..19 {
        assert!(target.sign_in(wrong).is_err());
    }
    target.sign_in(&right).is_ok()
}

#[test]
fn guessing_codes_gets_slow_before_it_gets_anywhere() {
    assert!(!guessing(true));
    assert!(guessing(false));
}

/// Somebody copied the key out of a device, and signs in after its owner has.
fn with_a_copy(on: bool) -> bool {
    let world = World::with(false, |config| {
        config.public_url = "http://localhost:8600".to_owned();
        if !on {
            assert!(config.defences.switch_off("passkey_counter"));
        }
    });
    let ada = world.person("ada");
    let proof = BeginPasskey {
        password: PASSWORD.into(),
        code: None,
    };
    let (mut device, mut copy) = (Device::p256(7), Device::p256(7));
    let begun = world.service.begin_passkey(&ada, &proof, None).unwrap();
    let add = AddPasskey {
        attempt: begun.attempt,
        name: "key".into(),
        credential: device.make(&begun.options),
    };
    world.service.add_passkey(&ada, &add, None).unwrap();
    copy.user.clone_from(&device.user);
    let signs_in = |device: &Device| {
        let asked = world.service.begin_passkey_sign_in("192.0.2.1").unwrap();
        let login = PasskeyLogin {
            attempt: asked.attempt,
            credential: device.sign(&asked.options),
        };
        world.service.sign_in_with_passkey(&login, "").is_ok()
    };
    // It was copied when it had counted to 20.
    (device.count, copy.count) = (25, 21);
    assert!(signs_in(&device));
    signs_in(&copy)
}

#[test]
fn a_copied_passkey_is_told_by_its_counter() {
    assert!(!with_a_copy(true));
    assert!(with_a_copy(false));
}
