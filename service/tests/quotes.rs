//! A quote that is remembered is the quote that would be read.
#![allow(clippy::unwrap_used)]

mod support;

use plumbline_service::commands::*;
use support::*;

#[test]
fn a_remembered_quote_never_outlives_what_it_was_made_from() {
    let world = World::new(false);
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let market = world.market();
    let order = spend("yes", 2 * CREDIT);
    assert!(
        world
            .service
            .known_quote(&ada, &market.id, &order)
            .is_none(),
        "nobody asked before"
    );
    let first = world.service.quote(&ada, &market.id, &order).unwrap();
    let again = world.service.known_quote(&ada, &market.id, &order);
    assert_eq!(again.unwrap().unwrap(), first);
    // Another order on the same state needs no read either.
    let more = spend("yes", 3 * CREDIT);
    let known = world.service.known_quote(&ada, &market.id, &more);
    let read = world.service.quote(&ada, &market.id, &more).unwrap();
    assert_eq!(known.unwrap().unwrap(), read);
    // Somebody else's trade moves the price: what was remembered is not given out again.
    world.service.trade(&bob, &market.id, &order).unwrap();
    assert!(
        world
            .service
            .known_quote(&ada, &market.id, &order)
            .is_none()
    );
    let dearer = world.service.quote(&ada, &market.id, &order).unwrap();
    assert!(dearer.average_price > first.average_price);
    // The time counts although nothing was committed.
    world.pass(365 * 86_400_000);
    let late = world.service.known_quote(&ada, &market.id, &order);
    if let Some(answer) = late {
        assert_eq!(answer.unwrap_err().code(), "market-closed");
    }
    let late = world.service.quote(&ada, &market.id, &order);
    assert_eq!(late.unwrap_err().code(), "market-closed");
}

#[test]
fn what_one_account_holds_is_not_quoted_to_another() {
    let world = World::new(false);
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    let market = world.market();
    world
        .service
        .trade(&ada, &market.id, &spend("yes", 2 * CREDIT))
        .unwrap();
    let sale = TradeOrder {
        outcome: "yes".to_owned(),
        shares_micro: Some(-CREDIT),
        ..TradeOrder::default()
    };
    for _ in 0..2 {
        world.service.quote(&ada, &market.id, &sale).unwrap();
        let refused = world.service.quote(&bob, &market.id, &sale).unwrap_err();
        assert_eq!(refused.code(), "insufficient-shares");
    }
    let known = |who| world.service.known_quote(who, &market.id, &sale).unwrap();
    assert!(known(&ada).is_ok());
    assert_eq!(known(&bob).unwrap_err().code(), "insufficient-shares");
}
