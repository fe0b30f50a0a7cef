//! Where transactions begin and end, for all that is said of them.

use super::*;

fn manager(request: &[u8]) -> Vec<u8> {
    let length = u16::try_from(HEADER + 22 + request.len()).unwrap();
    let mut bytes = packet::header(Kind::Transaction, LAST, length, 1).to_vec();
    bytes.extend([22, 0, 0, 0, 18, 0, 0, 0, 2, 0]);
    bytes.extend([0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    bytes.extend(request);
    bytes
}

/// What does not begin one for certain says nothing of the server.
#[test]
fn silence_is_learned_from_a_certain_beginning_alone() {
    for (texts, tells) in [
        (&["if 1 = 0 begin tran"][..], None),
        (&["begin tran select 1"], None),
        (&["begin tran"], Some(false)),
        (&["BEGIN TRANSACTION ;"], Some(false)),
    ] {
        let mut world = world(Watch::Texts);
        for text in texts {
            world.batch(text);
            world.server(&ok());
        }
        assert_eq!(world.tracker.announces_transactions(), tells, "{texts:?}");
    }
    let mut world = world(Watch::Texts);
    world.client(&manager(&[5, 0, 0, 0]));
    world.server(&[change(&BEGAN), ok()].concat());
    world.batch("begin tran");
    world.server(&ok());
    assert_eq!(world.tracker.announces_transactions(), None);
    let mut world = self::world(Watch::Texts);
    world.batch("begin tran");
    world.server(&failed(1));
    assert_eq!(world.tracker.announces_transactions(), None);
}

/// However they were begun, and however one of them ends.
#[test]
fn the_end_of_one_of_several_transactions_is_doubted() {
    let begin = manager(&[5, 0, 0, 0]);
    for (first, then) in [
        (request("begin tran begin tran"), None),
        (request("begin tran"), Some(request("begin tran"))),
        (begin.clone(), Some(begin.clone())),
        (request("begin tran"), Some(begin)),
    ] {
        for end in [request("commit"), manager(&[7, 0, 0, 0])] {
            let mut world = world(Watch::Texts);
            for one in [Some(&first), then.as_ref()].into_iter().flatten() {
                world.client(one);
                let tells =
                    one[0] == Kind::Transaction.byte() && !world.tracker.is_in_transaction();
                let told = match tells {
                    true => change(&BEGAN),
                    false => Vec::new(),
                };
                world.server(&[told, ok()].concat());
                assert_eq!(world.ready(), Boundary::InTransaction);
            }
            let _ = world.tracker.take_effects();
            world.client(&end);
            world.server(&ok());
            assert!(world.tracker.take_effects().any(Effects::NESTED));
            world.tracker.in_transaction();
            assert_eq!(world.tracker.boundary(), Boundary::InTransaction);
        }
    }
}

/// A rollback to a savepoint reads as one of the whole transaction.
#[test]
fn a_doubtful_end_ends_nothing_where_nobody_is_asked() {
    for (watch, boundary) in [
        (Watch::Texts, Boundary::Idle),
        (Watch::Unasked, Boundary::InTransaction),
    ] {
        let mut world = world(watch);
        world.client(&manager(&[5, 0, 0, 0]));
        world.server(&[change(&BEGAN), ok()].concat());
        assert_eq!(world.ready(), Boundary::InTransaction);
        for text in ["save tran s", "rollback tran s"] {
            world.batch(text);
            world.server(&ok());
        }
        assert_eq!(world.tracker.boundary(), boundary);
        let asked = world.tracker.take_effects().any(Effects::NESTED);
        assert_eq!(asked, watch == Watch::Texts);
    }
}
