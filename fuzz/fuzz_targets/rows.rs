//! The bodies of rows: any bytes are a message or not, and a message survives being written and read.
#![no_main]
use bulla_proto::stored::*;
use prost::Message;

fn body<M: Message + Default + PartialEq>(bytes: &[u8]) {
    if let Ok(message) = M::decode(bytes) {
        assert!(M::decode(message.encode_to_vec().as_slice()).as_ref() == Ok(&message));
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    body::<Installation>(bytes);
    body::<RootSlot>(bytes);
    body::<Tenant>(bytes);
    body::<KeyBody>(bytes);
    body::<VersionBody>(bytes);
    body::<AliasBody>(bytes);
    body::<RoleBindingBody>(bytes);
    body::<RequestBody>(bytes);
});
