//! Lists that come in pages, gathered to their end or to the limit that was asked for.

use std::future::Future;

use bulla_client::Error;

use super::failure::{Exit, Failure};

/// How much of a list to fetch.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct Limit {
    /// The most that is listed; the whole list without it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

/// What was gathered, and where the list goes on (empty at its end).
pub(crate) struct Gathered<T> {
    pub(crate) items: Vec<T>,
    pub(crate) next_page_token: String,
}

/// Asks for page after page. `page` is given a size and the token to go on from.
pub(crate) async fn gather<T, F, Answer>(limit: Limit, mut page: F) -> Result<Gathered<T>, Failure>
where
    F: FnMut(u32, String) -> Answer,
    Answer: Future<Output = Result<(Vec<T>, String), Error>>,
{
    let limit =
        limit.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut items = Vec::new();
    let mut token = String::new();
    loop {
        let left = u32::try_from(limit.saturating_sub(items.len())).unwrap_or(PAGE_SIZE_MAX);
        let (more, next) = page(left.min(PAGE_SIZE_MAX), token.clone()).await?;
        items.extend(more);
        let full = items.len() >= limit;
        items.truncate(limit);
        if next.is_empty() || full {
            return Ok(Gathered { items, next_page_token: next });
        }
        if next == token {
            return Err(Failure::new(Exit::Internal, "the server's list does not go on"));
        }
        token = next;
    }
}

/// The API's largest page.
const PAGE_SIZE_MAX: u32 = 1000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
    use super::*;

    async fn of_2500(size: u32, token: String) -> Result<(Vec<u32>, String), Error> {
        let from: u32 = if token.is_empty() { 0 } else { token.parse().unwrap() };
        let to = (from + size).min(2500);
        let next = if to == 2500 { String::new() } else { to.to_string() };
        Ok(((from..to).collect(), next))
    }

    async fn gathered(limit: Option<u32>) -> Gathered<u32> {
        gather(Limit { limit }, of_2500).await.unwrap()
    }

    #[tokio::test]
    async fn a_list_is_gathered_to_its_end_or_to_the_limit() {
        assert_eq!(gathered(None).await.items, (0..2500).collect::<Vec<_>>());
        for limit in [1, 999, 1000, 1001, 2499] {
            let some = gathered(Some(limit)).await;
            assert_eq!(
                (some.items.len(), some.next_page_token),
                (limit as usize, limit.to_string())
            );
        }
        assert_eq!(gathered(Some(2500)).await.next_page_token, "");
    }

    #[tokio::test]
    async fn a_server_that_repeats_itself_is_not_followed_for_ever() {
        let stuck = |_, _| async { Ok((vec![1], "same".to_owned())) };
        let failure = gather(Limit { limit: None }, stuck).await.map(|_| ()).unwrap_err();
        assert_eq!(failure.exit(), Exit::Internal);
    }
}
