//! What several zones answer.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use futures::future::{BoxFuture, Either, select};
use futures::stream::FuturesUnordered;

use crate::port::{Clock, PortError, PortErrorKind};

/// The answer of one zone.
pub(super) struct Answer<T> {
    pub(super) zone: usize,
    pub(super) result: Result<T, PortError>,
}

/// A question that is put to one zone.
pub(super) type Question<'a, T> = (usize, BoxFuture<'a, Result<T, PortError>>);

/// The answers to `questions`, until there are `enough` of them. Once `quorum` zones have given one, the others have as long as
/// `patience`; who has not answered then is [`Unavailable`](PortErrorKind::Unavailable).
pub(super) async fn gather<T: Send>(
    questions: impl IntoIterator<Item = Question<'_, T>>,
    quorum: usize,
    patience: Duration,
    clock: &dyn Clock,
    enough: impl Fn(&[Answer<T>]) -> bool,
) -> Vec<Answer<T>> {
    let mut waiting: FuturesUnordered<_> =
        questions.into_iter().map(|(zone, answer)| async move { (zone, answer.await) }).collect();
    let (mut answers, mut late): (Vec<Answer<T>>, _) = (Vec::new(), None);
    while !waiting.is_empty() && !enough(&answers) {
        if late.is_none() && given(&answers).count() >= quorum {
            late = Some(clock.sleep(patience));
        }
        let next = match &mut late {
            None => waiting.next().await,
            Some(late) => match select(pin!(waiting.next()), late).await {
                Either::Left((next, _)) => next,
                Either::Right(_) => break,
            },
        };
        answers.extend(next.map(|(zone, result)| Answer { zone, result }));
    }
    answers
}

/// What was answered, and by whom, without what went wrong.
pub(super) fn given<T>(answers: &[Answer<T>]) -> impl Iterator<Item = (usize, &T)> {
    answers.iter().filter_map(|answer| Some((answer.zone, answer.result.as_ref().ok()?)))
}

/// Why too few zones did what they were to do: `what`, in all of `zones`.
pub(super) fn too_few<T>(what: impl std::fmt::Display, zones: usize, answers: Vec<Answer<T>>) -> PortError {
    let failures: Vec<PortError> = answers.into_iter().filter_map(|answer| answer.result.err()).collect();
    // A refusal is to be told before what will pass.
    let first = failures.into_iter().min_by_key(|error| error.kind() == PortErrorKind::Unavailable);
    let kind = first.as_ref().map_or(PortErrorKind::Unavailable, PortError::kind);
    because(PortError::new(kind, format!("{what}: too few of the {zones} zones answered")), first)
}

/// `error`, with its cause if that is known.
pub(super) fn because(error: PortError, cause: Option<PortError>) -> PortError {
    match cause {
        Some(cause) => error.caused_by(cause),
        None => error,
    }
}
