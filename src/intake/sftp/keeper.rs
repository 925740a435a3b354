//! What is done about uploads when no client waits for it: those that were refused for now are tried again, those that were left
//! under temporary names are removed, and users are told of both.
//!
//! Many clients do not look at the answer to a close: to them the upload was a success. So what is refused for good there has
//! a result file, a mail where its sender has an address, and a log line; and what is refused for now is not given up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::shelf::{Due, Lying, Owed, Shelves};
use crate::intake::resting::NotAccepted;
use crate::intake::{Accepted, Arrival, Intake, Refusal, TurnedAway};
use crate::job::{Source, SubmissionId};

/// Pauses between two tries of a file that was refused for now; the last repeats.
const PAUSES: [u64; 5] = [5, 10, 20, 40, 60];
/// After this a file that is still refused for now is given up.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

const LEFT_LYING: &str = "This upload lay under a temporary name and was never renamed, so it was not faxed and has been removed. \
                          Upload it under its final name, or rename it when it is whole.";
const GIVEN_UP: &str = "This upload could not be recorded for a whole day, for a reason that lies with us, and has been given up. Upload it again.";

/// What a user is told.
#[derive(Debug, Clone)]
pub(super) enum KeeperAnswer {
    /// A file was not taken.
    Refused(TurnedAway),
    /// A file came before.
    Again { first: SubmissionId, name: String, sha256: String },
}

impl KeeperAnswer {
    /// A file of `user` was not taken.
    pub(super) fn refused(intake: &Intake, user: &str, sender: &str, file: Refused, sentence: &str) -> Self {
        KeeperAnswer::Refused(TurnedAway {
            source: Source::Sftp(user.to_owned()),
            sender: sender.to_owned(),
            name: file.name,
            // Each time it comes it is another one: its client waits for an answer again.
            version: intake.now().to_string(),
            bytes: file.bytes,
            sha256: file.sha256,
            left: false,
            sentence: sentence.to_owned(),
        })
    }
}

/// What is known of a file that is not taken.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) sha256: Option<String>,
}

impl Refused {
    fn of(name: String, lying: &Lying) -> Self {
        Refused { name, bytes: lying.resting.bytes(), sha256: Some(lying.resting.sha256()) }
    }
}

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Keeper {
    pub(super) intake: Intake,
    pub(super) shelves: Arc<Shelves>,
}

impl Keeper {
    /// Tells `user` now, or as soon as it can be recorded.
    pub(super) async fn answer(&self, user: &str, answer: KeeperAnswer) {
        let told = match answer.clone() {
            KeeperAnswer::Refused(file) => self.intake.turn_away(file).await.map(drop),
            KeeperAnswer::Again { first, name, sha256 } => {
                self.intake.tell_again(first, &name, &sha256).await
            }
        };
        let Err(refusal) = told else { return };
        if !self.shelves.answer_later(user, answer) {
            let cause = cause(&refusal);
            tracing::error!(sftp.user = user, "SFTP user {user}: an answer about an upload is lost: {cause}");
        }
    }

    /// Tells `user` that a file is not taken, unless they were told of so many that more would help nobody.
    pub(super) async fn refuse(&self, user: &str, sender: &str, file: Refused, sentence: &str) {
        if self.shelves.may_answer(user, Instant::now()) {
            let answer = KeeperAnswer::refused(&self.intake, user, sender, file, sentence);
            self.answer(user, answer).await;
        }
    }

    /// A file that lay too long, or had to make room.
    pub(super) async fn left_lying(&self, user: &str, name: String, lying: Lying) {
        tracing::warn!(
            sftp.user = user,
            "SFTP user {user}: an upload under a temporary name was never renamed and is removed"
        );
        self.refuse(user, &lying.sender, Refused::of(name, &lying), LEFT_LYING).await;
    }

    /// One round.
    pub(super) async fn look_after(&self, now: Instant) {
        self.work_off(self.shelves.due(now), now).await;
    }

    /// The last round, at the end of the process: what is refused now is lost, and that is told.
    pub(super) async fn give_back(&self, now: Instant) {
        let (due, temporary) = self.shelves.clear();
        if temporary > 0 {
            tracing::warn!(
                "SFTP: {temporary} uploads under temporary names are given up, since faxbridge stops"
            );
        }
        self.work_off(due, now).await;
        let (left, _) = self.shelves.clear();
        for (user, ..) in &left.owed {
            tracing::error!(
                sftp.user = user,
                "SFTP user {user}: an upload that was refused for now is lost, since faxbridge stops"
            );
        }
        for (user, _) in &left.answers {
            tracing::error!(
                sftp.user = user,
                "SFTP user {user}: an answer about an upload is lost, since faxbridge stops"
            );
        }
    }

    async fn work_off(&self, due: Due, now: Instant) {
        for (user, answer) in due.answers {
            self.answer(&user, answer).await;
        }
        for (user, name, lying) in due.expired {
            self.left_lying(&user, name, lying).await;
        }
        for (user, name, owed) in due.owed {
            self.try_again(user, name, owed, now).await;
        }
    }

    async fn try_again(&self, user: String, name: String, owed: Owed, now: Instant) {
        let Owed { lying: Lying { resting, sender, room }, from, since, tries, .. } = owed;
        let bytes = resting.bytes();
        let not_accepted = match self.intake.accept_resting(resting, arrival(&user, &sender, &name)).await {
            Ok((accepted, sha256)) => {
                let id = accepted.id();
                tracing::info!(
                    sftp.user = user, submission.id = %id,
                    "SFTP user {user}: an upload that was refused for now is accepted after all, as submission {id}"
                );
                self.taken(&user, name, bytes, (accepted, sha256), now).await;
                return;
            }
            Err(not_accepted) => not_accepted,
        };
        let NotAccepted { refusal, resting } = not_accepted;
        let given_up = refusal.permanent || now.saturating_duration_since(since) > PATIENCE;
        match resting {
            Some(resting) if !given_up => {
                let next = pause(tries, now);
                let lying = Lying { resting, sender, room };
                let tries = tries.saturating_add(1);
                self.shelves.owe(&user, name, Owed { lying, from, since, next, tries });
            }
            resting => {
                let cause = cause(&refusal);
                tracing::error!(
                    sftp.user = user,
                    "SFTP user {user}: an upload that was refused for now is given up: {cause}"
                );
                let sentence = if refusal.permanent { &refusal.sentence } else { GIVEN_UP };
                let sha256 = resting.as_ref().map(super::super::resting::Resting::sha256);
                self.refuse(&user, &sender, Refused { name, bytes, sha256 }, sentence).await;
            }
        }
    }

    /// A file is accepted, now or before.
    pub(super) async fn taken(
        &self,
        user: &str,
        name: String,
        bytes: u64,
        (accepted, sha256): (Accepted, String),
        now: Instant,
    ) {
        if let Accepted::Known(first) = accepted {
            self.answer(user, KeeperAnswer::Again { first, name: name.clone(), sha256 }).await;
        }
        self.shelves.accepted(user, name, bytes, now);
    }
}

/// A file of `user` as the intake knows it.
pub(super) fn arrival(user: &str, sender: &str, name: &str) -> Arrival {
    let source = Source::Sftp(user.to_owned());
    Arrival { file: Some(name.to_owned()), ..Arrival::new(source, sender.to_owned()) }
}

/// When it is tried next, after `tries` tries.
pub(super) fn pause(tries: u32, now: Instant) -> Instant {
    let rung = usize::try_from(tries).unwrap_or(usize::MAX).min(PAUSES.len() - 1);
    now + Duration::from_secs(PAUSES.get(rung).copied().unwrap_or(60))
}

/// For the log.
pub(super) fn cause(refusal: &Refusal) -> &str {
    refusal.cause.as_deref().unwrap_or(&refusal.sentence)
}
