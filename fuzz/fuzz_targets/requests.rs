//! The bytes of each call's request: any bytes are a request or not, and neither stops the server.
#![no_main]
use bulla_proto::kms::*;
use prost::Message;

fn request<M: Message + Default + PartialEq>(bytes: &[u8]) {
    if let Ok(message) = M::decode(bytes) {
        assert!(M::decode(message.encode_to_vec().as_slice()) == Ok(message));
    }
}

macro_rules! requests {
    ($bytes:ident, $($message:ident)*) => { $(request::<$message>($bytes);)* };
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    requests!(bytes,
        GenerateDataKeyRequest GenerateDataKeyWithoutPlaintextRequest GenerateDataKeysRequest
        EncryptRequest DecryptRequest DecryptManyRequest ReEncryptRequest
        ReEncryptStreamRequest InspectRequest GenerateRandomRequest CreateKeyRequest
        GetKeyRequest ListKeysRequest UpdateKeyRequest DisableKeyRequest EnableKeyRequest
        RotateKeyRequest ListVersionsRequest GetVersionRequest SuspendVersionRequest
        ResumeVersionRequest RestrictVersionRequest UnrestrictVersionRequest
        CompromiseVersionRequest ScheduleDestroyRequest CancelDestroyRequest SetAliasRequest
        DeleteAliasRequest ListAliasesRequest WatchKeysRequest BindRoleRequest
        UnbindRoleRequest ListRoleBindingsRequest WhoAmIRequest ListRecordsRequest
        TailRecordsRequest StatusRequest EchoRequest
    );
});
