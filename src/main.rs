//! bulla
fn main(){}
