//! bulla
