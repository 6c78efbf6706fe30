//! Memory is scarce: who publishes most waits, the others don't.

use super::rig::*;
use crate::codec::packet::*;
use crate::engine::*;
use crate::types::ConnectionId;

fn send(rig: &mut Rig, id: ConnectionId, payload: &str) {
    rig.send(id, &Packet::Publish(publish("t", AtMostOnce, 0, payload)));
}

fn rig() -> (Rig, ConnectionId) {
    let mut rig = Rig::new();
    let watch = rig.client("watch");
    rig.subscribe(watch, "t", AtMostOnce);
    (rig, watch)
}

#[test]
fn the_heaviest_publishers_wait_until_memory_is_not_scarce_any_more() {
    let (mut rig, watch) = rig();
    let (light, heavy) = (rig.client("light"), rig.client("heavy"));
    let large = "x".repeat(1000);
    rig.resumed.clear();
    rig.engine.set_pressure(rig.now, Pressure::Slow);
    send(&mut rig, light, "small");
    send(&mut rig, heavy, &large);
    assert_eq!(rig.received(watch).len(), 2, "the first interval only counts");
    rig.engine.set_pressure(rig.now, Pressure::Slow);
    send(&mut rig, light, "small");
    send(&mut rig, heavy, &large);
    send(&mut rig, heavy, &large);
    assert_eq!(rig.received(watch), [r#"PUBLISH t q0 "small""#]);
    assert_eq!(rig.engine.counters().pressure_pauses, 1);
    assert_eq!(rig.resumed, []);

    rig.engine.set_pressure(rig.now, Pressure::None);
    rig.settle();
    assert_eq!(rig.received(watch).len(), 2, "what was held up comes, nothing is lost");
    assert_eq!(rig.resumed, [heavy]);
    send(&mut rig, heavy, &large);
    assert_eq!(rig.received(watch).len(), 1);
}

#[test]
fn the_next_heaviest_wait_when_that_did_not_help_and_who_only_listens_never_does() {
    let (mut rig, watch) = rig();
    let ids: Vec<_> = (0..4).map(|n| rig.client(&format!("{n}"))).collect();
    for _ in 0..4 {
        rig.engine.set_pressure(rig.now, Pressure::Refuse);
        for (n, &id) in ids.iter().enumerate() {
            send(&mut rig, id, &"x".repeat(1 << (4 * n)));
        }
    }
    rig.engine.set_pressure(rig.now, Pressure::Refuse);
    rig.received(watch);
    ids.iter().for_each(|&id| send(&mut rig, id, "x"));
    assert_eq!(rig.received(watch), [""; 0], "all publishers wait");
    rig.send(watch, &Packet::PingReq);
    assert_eq!(rig.received(watch), ["PINGRESP"]);
}

#[test]
fn who_is_not_read_is_not_taken_for_dead_and_may_leave() {
    let (mut rig, watch) = rig();
    let id = rig.connect(Connect { keep_alive_seconds: 10, ..connect("publisher") });
    rig.engine.set_pressure(rig.now, Pressure::Slow);
    send(&mut rig, id, "x");
    rig.engine.set_pressure(rig.now, Pressure::Slow);
    send(&mut rig, id, "x");
    rig.wait(100_000);
    assert!(!rig.is_closed(id));
    rig.lose(id);
    rig.engine.set_pressure(rig.now, Pressure::None);
    rig.settle();
    assert_eq!(rig.received(watch).len(), 1);
    assert_eq!(rig.engine.counters().connections, 1);
}
