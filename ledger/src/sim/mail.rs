//! Replicas, their handles and the letters between them. Whoever asks a replica whose handle believes the shard to be elsewhere asks
//! by letter. Letters and replies arrive in any order, or never; what nobody told is asked again, of whoever has the shard then.

use super::world::{Whom, World};
use crate::SHARD;
use crate::error::Error;
use crate::replica::letter::{Kept, Letter, Reply};

/// What is under way between replicas.
enum Piece {
    /// For that replica.
    Letter { number: usize, to: usize, text: Vec<u8> },
    /// To the letter of that number.
    Reply { number: usize, text: Vec<u8> },
}

/// A letter that was sent.
struct Sent {
    from: usize,
    /// The askings in it.
    askings: Vec<usize>,
    /// False once its reply was read, or it was given up.
    open: bool,
}

/// A letter that arrived, with what is known of each of its requests.
struct Arrived {
    number: usize,
    answers: Vec<Option<Result<Kept, Error>>>,
}

/// What lies between the replicas.
#[derive(Default)]
pub(super) struct Mail {
    /// Who has the shard, as each replica believes.
    believed: [usize; Self::REPLICAS as usize],
    sent: Vec<Sent>,
    arrived: Vec<Arrived>,
    travelling: Vec<Piece>,
    /// What nobody told: the replica that was asked, and the askings.
    untold: Vec<(usize, Vec<usize>)>,
}

impl Mail {
    pub const REPLICAS: u64 = 2;

    /// Notes what became of one request of a letter that arrived; the last one of it sends the reply off.
    pub fn note(&mut self, letter: usize, place: usize, answer: Result<Kept, Error>) {
        let Arrived { number, answers } = &mut self.arrived[letter];
        answers[place] = Some(answer);
        if answers.iter().all(Option::is_some) {
            let answers = std::mem::take(answers).into_iter().flatten().collect();
            self.travelling.push(Piece::Reply { number: *number, text: Reply::Answers(answers).write() });
        }
    }

    /// Takes a letter for lost, whatever became of it.
    fn give_up(&mut self, number: usize) {
        let Sent { from, askings, open } = &mut self.sent[number];
        if std::mem::take(open) {
            self.untold.push((*from, askings.clone()));
        }
    }
}

impl World {
    /// Asks a replica: its own writer, where it believes to have the shard, or by letter.
    pub(super) fn ask_replica(&mut self, replica: usize, askings: Vec<usize>) {
        let to = self.mail.believed[replica];
        if to != replica {
            let requests = askings.iter().map(|&asking| self.asked[asking].0.request()).collect();
            let (number, text) = (self.mail.sent.len(), Letter { shard: SHARD, requests }.write());
            self.mail.travelling.push(Piece::Letter { number, to, text });
            self.mail.sent.push(Sent { from: replica, askings, open: true });
            self.outcome.letters += 1;
            return;
        }
        let wishes: Vec<_> = askings.iter().map(|&asking| (Whom::Here(asking), self.asked[asking].0.clone())).collect();
        let asked = self.writer_of(replica).is_some_and(|writer| self.ask(writer, &wishes));
        if !asked {
            self.mail.untold.push((replica, askings));
        }
    }

    /// Lets something happen to what is under way: it arrives, it is lost, somebody gives up waiting, or asks again.
    pub(super) fn carry(&mut self) {
        match self.below(12) {
            0..6 => drop(self.arrive()),
            6..8 => {
                if let Some(Piece::Letter { number, .. } | Piece::Reply { number, .. }) = self.pick() {
                    self.outcome.lost += 1;
                    self.mail.give_up(number);
                }
            }
            8 => {
                let count = self.mail.sent.len() as u64;
                if count > 0 {
                    let number = self.below(count) as usize;
                    self.mail.give_up(number);
                }
            }
            _ => {
                let count = self.mail.untold.len() as u64;
                if count > 0 {
                    let (replica, askings) = {
                        let at = self.below(count) as usize;
                        self.mail.untold.swap_remove(at)
                    };
                    // It has heard who has the shard, as a rule.
                    if self.below(4) > 0 {
                        self.mail.believed[replica] = self.owner;
                    }
                    self.ask_replica(replica, askings);
                }
            }
        }
    }

    /// Lets one of the letters and replies arrive; false when none is under way.
    pub(super) fn arrive(&mut self) -> bool {
        match self.pick() {
            None => return false,
            Some(Piece::Letter { number, to, text }) => self.read(number, to, &text),
            Some(Piece::Reply { number, text }) => self.hear_from(number, &text),
        }
        true
    }

    fn pick(&mut self) -> Option<Piece> {
        let count = self.mail.travelling.len() as u64;
        if count == 0 {
            return None;
        }
        let at = self.below(count) as usize;
        Some(self.mail.travelling.swap_remove(at))
    }

    /// A replica reads a letter.
    fn read(&mut self, number: usize, to: usize, text: &[u8]) {
        let letter = Letter::read(text).expect("a letter was written");
        let arrived = self.mail.arrived.len();
        let askings = &self.mail.sent[number].askings;
        let wishes: Vec<_> = askings.iter().map(|&asking| self.asked[asking].0.clone()).collect();
        assert_eq!(letter.requests, wishes.iter().map(|wish| wish.request()).collect::<Vec<_>>(), "a letter is whole");
        let answers = wishes.iter().map(|_| None).collect();
        self.mail.arrived.push(Arrived { number, answers });
        let wishes: Vec<_> =
            (0..).zip(wishes).map(|(place, wish)| (Whom::There { letter: arrived, place }, wish)).collect();
        let asked = self.writer_of(to).is_some_and(|writer| self.ask(writer, &wishes));
        if !asked {
            self.mail.travelling.push(Piece::Reply { number, text: Reply::NotHere.write() });
        }
    }

    /// The one who sent a letter reads its reply, unless it has given up.
    fn hear_from(&mut self, number: usize, text: &[u8]) {
        let Sent { from, ref askings, open } = self.mail.sent[number];
        let askings = askings.clone();
        if !open {
            return;
        }
        match Reply::read(text).expect("a reply was written") {
            Reply::NotHere => self.mail.give_up(number),
            Reply::Answers(answers) => {
                assert_eq!(answers.len(), askings.len(), "a reply is whole");
                self.mail.sent[number].open = false;
                for (asking, answer) in askings.into_iter().zip(answers) {
                    match answer {
                        Err(Error::Stopped) => self.mail.untold.push((from, vec![asking])),
                        answer => self.told(asking, answer.map(|kept| kept.block)),
                    }
                }
            }
        }
    }
}
