// error: E0277
use bulla::policy::Permit;

fn nothing<T: Default>() -> T {
    T::default()
}

pub fn made() -> Permit {
    nothing()
}
