//! How the two sides of a hello prove to each other that they have the same
//! secret. Pure.
//!
//! 1. The peer says hello with a number of its own.
//! 2. The server answers with a number of its own, the challenge.
//! 3. The peer says hello again, with a proof about both.
//! 4. The server checks it, and proves the same in its welcome.
//!
//! The numbers are new for every hello, so a proof is good for one connection.
//! The server proves nothing before its peer did: else anybody could try what
//! secrets people think of on an answer of its.

use hulynet_protocol::{
    Hello, Role, ServerId, Welcome,
    frame::{Nonce, Proof, nonce},
};
use ring::hmac;

use crate::{config::PeerConfig, secret::Secret};

/// Who proves something.
#[derive(Clone, Copy, Debug)]
enum Side {
    Peer,
    Server,
}

/// What is proved: that this one has the secret, on this connection.
#[derive(Clone, Copy, Debug)]
struct Claim<'name> {
    side: Side,
    /// The name of who proves.
    name: &'name str,
    /// What the peer is.
    role: Role,
    /// The peer's number.
    nonce: Nonce,
    /// The server's.
    challenge: Nonce,
}

impl Claim<'_> {
    /// No two have the same bytes: the name is last, all else has one length.
    fn bytes(&self) -> Vec<u8> {
        let side: &[u8] = match self.side {
            Side::Peer => b"hulynet hello: peer  ",
            Side::Server => b"hulynet hello: server",
        };
        let role = match self.role {
            Role::Client => 0,
            Role::Agent => 1,
            Role::Coordinator => 2,
        };
        [side, &self.nonce, &self.challenge, &[role], self.name.as_bytes()].concat()
    }

    fn prove(&self, secret: &Secret) -> Proof {
        let mut proof = Proof::default();
        proof.copy_from_slice(hmac::sign(secret.key(), &self.bytes()).as_ref());
        proof
    }

    /// Takes the same time for every wrong proof.
    fn is_proved(&self, secret: &Secret, proof: &Proof) -> bool {
        hmac::verify(secret.key(), &self.bytes(), proof).is_ok()
    }
}

/// What a server does about a hello.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its peer is let in; the server's own proof.
    Joins(Option<Proof>),
    /// Its peer is to prove something first.
    Challenged,
    /// Its peer is refused, and why.
    Refused(&'static str),
}

/// Judges a hello on a connection that was asked this challenge.
pub(crate) fn judge(
    secret: Option<&Secret>,
    server: &ServerId,
    challenge: Option<Nonce>,
    hello: &Hello,
) -> Verdict {
    let Some(secret) = secret else {
        return match hello.nonce {
            None => Verdict::Joins(None),
            Some(_) => Verdict::Refused(
                "this peer has a secret and asks for a proof of it, and there is none here; name \
                 the same file on both sides with the setting secret-file, or on neither",
            ),
        };
    };
    let Some(nonce) = hello.nonce else {
        return Verdict::Refused(
            "the network has a secret and this peer has none; name its file with the setting \
             secret-file",
        );
    };
    let Some(proof) = hello.proof else { return Verdict::Challenged };
    let proved = challenge.filter(|&challenge| {
        let (side, name, role) = (Side::Peer, hello.client.as_str(), hello.role);
        Claim { side, name, role, nonce, challenge }.is_proved(secret, &proof)
    });
    let Some(challenge) = proved else {
        return Verdict::Refused(
            "this peer does not prove to have the secret of the network; name the file with the \
             same content on both sides with the setting secret-file",
        );
    };
    let (side, name, role) = (Side::Server, server.as_str(), hello.role);
    Verdict::Joins(Some(Claim { side, name, role, nonce, challenge }.prove(secret)))
}

/// The peer's side of one hello.
#[derive(Debug, Default)]
pub(crate) struct Introduction {
    nonce: Option<Nonce>,
    challenge: Option<Nonce>,
}

impl Introduction {
    /// A new one, with a number of its own if there is a secret.
    pub(crate) fn begin(secret: Option<&Secret>) -> Self {
        Self { nonce: secret.map(|_| nonce()), challenge: None }
    }

    /// What goes into the hello.
    pub(crate) fn nonce(&self) -> Option<Nonce> {
        self.nonce
    }

    /// Answers a challenge; `None` when there is nothing to prove, or was
    /// already.
    pub(crate) fn answer(&mut self, config: &PeerConfig, challenge: Nonce) -> Option<Proof> {
        let (secret, nonce) = (config.secret.as_ref()?, self.nonce?);
        if self.challenge.replace(challenge).is_some() {
            return None;
        }
        let (side, name, role) = (Side::Peer, config.client.as_str(), config.role);
        Some(Claim { side, name, role, nonce, challenge }.prove(secret))
    }

    /// Whether the server may be believed: without a secret always, with one
    /// when it proves to have it.
    pub(crate) fn is_answered(&self, config: &PeerConfig, welcome: &Welcome) -> bool {
        let Some(secret) = &config.secret else { return true };
        let (Some(nonce), Some(challenge), Some(proof)) =
            (self.nonce, self.challenge, &welcome.proof)
        else {
            return false;
        };
        let (side, name, role) = (Side::Server, welcome.server.as_str(), config.role);
        Claim { side, name, role, nonce, challenge }.is_proved(secret, proof)
    }
}

#[cfg(test)]
mod tests {
    use hulynet_protocol::{
        ClientId,
        frame::{VERSION, feature},
    };

    use super::*;

    const SECRET: &str = "correct horse battery";

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes()).unwrap()
    }

    fn config(text: Option<&str>) -> PeerConfig {
        let name = ClientId::new("ann").unwrap();
        PeerConfig { secret: text.map(secret), ..PeerConfig::new(name, Role::Client) }
    }

    fn server() -> ServerId {
        ServerId::new("server").unwrap()
    }

    fn hello(config: &PeerConfig, introduction: &Introduction, proof: Option<Proof>) -> Hello {
        Hello {
            version: VERSION,
            features: feature::ALL,
            client: config.client.clone(),
            run: 1,
            role: config.role,
            alive_timeout_ms: 3000,
            nonce: introduction.nonce(),
            proof,
        }
    }

    fn welcome(server: ServerId, proof: Option<Proof>) -> Welcome {
        Welcome { version: VERSION, features: 0, server, resumed: false, session: 1, proof }
    }

    /// A peer that was challenged and its second hello, and the challenge.
    fn second(config: &PeerConfig) -> (Introduction, Hello, Nonce) {
        let mut introduction = Introduction::begin(config.secret.as_ref());
        let theirs = secret(SECRET);
        let first = hello(config, &introduction, None);
        assert_eq!(judge(Some(&theirs), &server(), None, &first), Verdict::Challenged);
        let challenge = nonce();
        let proof = introduction.answer(config, challenge);
        let second = hello(config, &introduction, proof);
        (introduction, second, challenge)
    }

    fn joins(text: &str, challenge: Option<Nonce>, hello: &Hello) -> Option<Proof> {
        match judge(Some(&secret(text)), &server(), challenge, hello) {
            Verdict::Joins(proof) => proof,
            Verdict::Challenged => panic!("challenged again"),
            Verdict::Refused(_) => None,
        }
    }

    #[test]
    fn both_sides_that_have_the_secret_believe_each_other() {
        let config = config(Some(SECRET));
        let (introduction, hello, challenge) = second(&config);
        let proof = joins(SECRET, Some(challenge), &hello).unwrap();
        assert!(introduction.is_answered(&config, &welcome(server(), Some(proof))));
    }

    #[test]
    fn a_proof_is_good_for_one_secret_challenge_nonce_client_and_role() {
        let config = config(Some(SECRET));
        let (_, hello, challenge) = second(&config);
        assert!(joins(SECRET, Some(challenge), &hello).is_some());
        assert_eq!(joins("correct horse batterz", Some(challenge), &hello), None);
        assert_eq!(joins(SECRET, Some(nonce()), &hello), None);
        assert_eq!(joins(SECRET, None, &hello), None);
        let mut flipped = hello.proof.unwrap();
        flipped[31] ^= 1;
        for changed in [
            Hello { nonce: Some(nonce()), ..hello.clone() },
            Hello { client: ClientId::new("bob").unwrap(), ..hello.clone() },
            Hello { client: ClientId::new("an").unwrap(), ..hello.clone() },
            Hello { role: Role::Agent, ..hello.clone() },
            Hello { proof: Some(flipped), ..hello.clone() },
            Hello { proof: Some([0; 32]), ..hello },
        ] {
            assert_eq!(joins(SECRET, Some(challenge), &changed), None, "{changed:?}");
        }
    }

    #[test]
    fn a_server_is_believed_for_its_own_proof_of_this_hello_only() {
        let config = config(Some(SECRET));
        let (introduction, hello, challenge) = second(&config);
        let proof = joins(SECRET, Some(challenge), &hello);
        for wrong in [
            welcome(server(), None),
            // What the peer proved itself is sent back.
            welcome(server(), hello.proof),
            welcome(ServerId::new("another").unwrap(), proof),
        ] {
            assert!(!introduction.is_answered(&config, &wrong), "{wrong:?}");
        }
        let (other, _, _) = second(&config);
        assert!(!other.is_answered(&config, &welcome(server(), proof)));
        // Who never asked has nothing to prove it with.
        let unasked = Introduction::begin(config.secret.as_ref());
        assert!(!unasked.is_answered(&config, &welcome(server(), proof)));
    }

    #[test]
    fn nobody_is_asked_twice_or_without_a_secret() {
        let with = config(Some(SECRET));
        let (mut introduction, _, _) = second(&with);
        assert_eq!(introduction.answer(&with, nonce()), None);
        let without = config(None);
        let mut introduction = Introduction::begin(without.secret.as_ref());
        assert_eq!(introduction.answer(&without, nonce()), None);
        assert!(introduction.is_answered(&without, &welcome(server(), None)));
    }

    #[test]
    fn a_secret_on_one_side_only_is_told() {
        let (with, without) = (config(Some(SECRET)), config(None));
        let refused = |secret: Option<&Secret>, config: &PeerConfig| {
            let introduction = Introduction::begin(config.secret.as_ref());
            match judge(secret, &server(), None, &hello(config, &introduction, None)) {
                Verdict::Refused(why) => why.contains("secret-file"),
                _ => false,
            }
        };
        assert!(refused(None, &with));
        assert!(refused(Some(&secret(SECRET)), &without));
        assert!(!refused(None, &without));
    }
}
