//! A call that runs to its end even if nobody waits for it any more.
//!
//! A caller that goes away, or whose deadline passes, drops the future of its call; here that does not
//! stop the call, so that nothing is ever half done (what dropshot calls detached handlers). It costs
//! nothing while the caller stays.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// Runs `work`; dropped before its end, the rest runs as a task of its own.
pub(super) struct Detached<T: Send + 'static> {
    work: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
}

// === impl Detached ===

impl<T: Send + 'static> Detached<T> {
    pub(super) fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self { work: Some(Box::pin(work)) }
    }
}

impl<T: Send + 'static> Future for Detached<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let Some(work) = self.work.as_mut() else { return Poll::Pending };
        let polled = work.as_mut().poll(context);
        if polled.is_ready() {
            self.work = None;
        }
        polled
    }
}

impl<T: Send + 'static> Drop for Detached<T> {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        // Without a runtime the program is ending, and what is left of the call with it.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(finish(work));
        }
    }
}

async fn finish<T: Send + 'static>(work: Pin<Box<dyn Future<Output = T> + Send>>) {
    // Nobody waits for what it gives.
    drop(work.await);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_call_that_nobody_waits_for_still_runs_to_its_end() {
        let (go_on, waits) = oneshot::channel::<()>();
        let (done, ended) = oneshot::channel();
        let mut call = Detached::new(async move {
            waits.await.unwrap();
            done.send("done").unwrap();
        });
        let pending = std::future::poll_fn(|context| {
            Poll::Ready(Pin::new(&mut call).poll(context).is_pending())
        });
        assert!(pending.await);
        drop(call);
        go_on.send(()).unwrap();
        assert_eq!(ended.await, Ok("done"));
    }
}
