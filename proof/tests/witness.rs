//! Co-signatures: one that somebody else's witness made (`aics-witness` 0.1.0) is taken, and nothing that
//! differs from it in one byte.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use bulla_proof::{CheckpointError, NoteError, SignedCheckpoint, VerifyingKey, WitnessKey};

const NOTE: &str = "bulla/1e4cac83-4fc2-b3c0-37fe-8523399a7243
79
5puxZ8Cti0Ss2V/MCjcInGhvnmfIn1+w2qGOzNBh3dM=
chain 1Z1YRTiVYEnqoETEFiTknfOCzT3WzSOllQ/bap720Ho=
time 1795546925871640

\u{2014} bulla/1e4cac83-4fc2-b3c0-37fe-8523399a7243 xlTBemV2Z7LUVueQp7L/3aN79zrLsOYUHTQlnTuK8casRoGOHuxwARlwvIOPKpGAqb9FyPGX+xXt+8istQqhHk2wMA4=
";
const LINE: &str = "\u{2014} w.example/one bJNMSAAAAABrBd8tZxW1Yc5TvxfukQ8OXSrd1vtCDr11WG72LN94V8wbwy5jU/xAvg8PBckbR/R6cdR8qvSWABSqk+OZ9GkPWxZ3Cg==\n";
const WITNESS: &str = "w.example/one+6c934c48+BAE3h1h79J7+6E+XPDs5SrxtZWDG7qUs2+nZFGIg4H0C";
const LOG: &str = "bulla/1e4cac83-4fc2-b3c0-37fe-8523399a7243+c654c17a+AcNzMdqRqhmUhxShG6IF2aiPhwiVCXZRGrdsnsxBE+2C";

fn signed() -> SignedCheckpoint {
    SignedCheckpoint::open(NOTE.as_bytes(), &VerifyingKey::parse(LOG).unwrap()).unwrap()
}

#[test]
fn somebody_elses_witness_is_understood() {
    let witness = WitnessKey::parse(WITNESS).unwrap();
    assert_eq!((witness.name(), witness.to_string().as_str()), ("w.example/one", WITNESS));
    assert_eq!(signed().cosigned_by(&witness), Err(NoteError::OtherKey));
    let cosigned = signed().with_cosignature(LINE, &witness).unwrap();
    assert_eq!(cosigned.as_bytes(), format!("{NOTE}{LINE}").as_bytes());
    assert_eq!(cosigned.cosigned_by(&witness), Ok(1_795_546_925));
    assert!(witness.has_signed(cosigned.as_bytes()) && !witness.has_signed(NOTE.as_bytes()));
    assert_eq!(cosigned.cosignatures(&[witness.clone(), witness.clone()]), 2);
    // Once more in the place of the first, and the log's own signature still stands.
    let again = cosigned.with_cosignature(LINE, &witness).unwrap();
    assert_eq!(again, cosigned);
    assert!(SignedCheckpoint::open(again.as_bytes(), &VerifyingKey::parse(LOG).unwrap()).is_ok());
}

#[test]
fn h03_a_cosignature_that_differs_in_one_byte_is_none() {
    let witness = WitnessKey::parse(WITNESS).unwrap();
    let whole = format!("{NOTE}{LINE}").into_bytes();
    let (mut tried, text) = (0, NOTE.find("\n\n").unwrap());
    for place in (0..text).chain(NOTE.len()..whole.len() - 1) {
        let mut changed = whole.clone();
        changed[place] ^= 1;
        assert!(!witness.has_signed(&changed), "{place}");
        tried += 1;
    }
    assert!(tried > 250, "{tried}");
    let missing = signed().with_cosignature("", &witness);
    assert_eq!(missing, Err(CheckpointError::OtherKey));
    let wrong = signed().with_cosignature(&LINE.replace("AAAABr", "AAAABs"), &witness);
    assert_eq!(wrong, Err(CheckpointError::BadSignature));
}

#[test]
fn a_key_of_another_kind_is_no_witness() {
    assert!(WitnessKey::parse(LOG).is_err());
    assert!(VerifyingKey::parse(WITNESS).is_err());
    for text in ["", "x", "w.example/one+6c934c49+BAE3h1h79J7+6E+XPDs5SrxtZWDG7qUs2+nZFGIg4H0C"] {
        assert!(WitnessKey::parse(text).is_err(), "{text}");
    }
}
