//! Any bytes are an audit file's frames or not; a record that can be read is read the same again.
#![no_main]
use bulla::audit::{Frame, Record, SegmentHeader};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut chain = SegmentHeader::first([7; 16]).chain();
    let mut rest = bytes;
    while let Ok(Some((frame, taken))) = Frame::read(rest) {
        assert!(chain.verify(&frame).is_err(), "a chain that nobody made");
        let _ = Record::decode(frame.payload());
        rest = &rest[taken..];
    }
    if let Ok(record) = Record::decode(bytes) {
        let mut again = Vec::new();
        if record.encode(&mut again).is_ok() {
            assert!(Record::decode(&again).as_ref() == Ok(&record));
            assert_eq!(chain.seal(&again, &mut Vec::new()), Ok(1));
        }
    }
});
