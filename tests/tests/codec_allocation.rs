//! Reading and building a message allocates nothing: what the benchmark B1 does, under a counting allocator.
#![cfg(test)]

use tests::bench::codec::{purchase_frame, rebuild, retype};

#[test]
fn parsing_and_rebuilding_a_message_allocates_nothing() {
    let frame = purchase_frame().unwrap();
    let mut out = [0; 512];
    for round in [rebuild, retype] {
        let mut length = 0;
        let counted = allocation_counter::measure(|| {
            length = round(&frame, &mut out).unwrap();
        });
        assert_eq!(&out[..length], frame);
        assert_eq!((counted.count_total, counted.bytes_total), (0, 0));
    }
    // The counter counts.
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(vec![0u8; 100])));
    assert_eq!(counted.count_total, 1);
}

#[test]
fn refusing_a_message_allocates_nothing() {
    let frame = purchase_frame().unwrap();
    let mut out = [0; 512];
    for cut in 0..frame.len() {
        let counted = allocation_counter::measure(|| assert!(rebuild(&frame[..cut], &mut out).is_err()));
        assert_eq!(counted.count_total, 0, "cut at {cut}");
    }
}
