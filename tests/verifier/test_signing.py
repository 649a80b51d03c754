"""Signatures, timestamps and trust policies: each lie is refused by name, and other programs agree."""

import base64
import json
import shutil
import stat
import subprocess
import time
from datetime import UTC, datetime, timedelta, timezone

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

import fpverify
from fpverify import (
    CommitmentError,
    PanelError,
    Policy,
    PolicyError,
    Proof,
    SignatureError,
    TimestampError,
    Trust,
    TrustError,
    Verdict,
    commit,
    disclose,
    load_trust,
    save_fingerprint,
    verify,
    vet,
)
from fpverify.cli import main
from fpverify.proof import attestation, envelope, timestamp
from fpverify.reports import FORMATS

FORMATS_FOLDER = fpverify.__path__[0] + "/formats"


@pytest.fixture
def key(tmp_path):
    """An owner's key, both parts in files, and the public part."""
    private, public = envelope.new_key(b"")
    (tmp_path / "owner.key").write_bytes(private)
    (tmp_path / "owner.pub").write_bytes(public)
    return envelope.load_private(tmp_path / "owner.key", b""), envelope.load_public(tmp_path / "owner.pub")


@pytest.fixture
def fingerprint(make_backed):
    return make_backed()


@pytest.fixture
def committed(fingerprint):
    return commit(fingerprint, b"s" * 32)


@pytest.fixture
def suspect(fingerprint, by_key):
    return by_key(fingerprint, fingerprint.labels)


class Authority:
    """A time-stamping authority with a root of its own, by openssl's command line."""

    def __init__(self, folder, begins=-60.0, ends=3600.0, name="root"):
        if shutil.which("openssl") is None:
            pytest.skip("needs the openssl command")
        self.folder = folder / name
        self.folder.mkdir()
        now = datetime.now(UTC)
        root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        root_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        root = self._certificate(root_name, root_name, root_key, root_key, now - timedelta(1), now + timedelta(1))
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        stamper = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stamper")])
        begins, ends = (now + timedelta(seconds=value) for value in (begins, ends))
        certificate = self._certificate(stamper, root_name, key, root_key, begins, ends, usage)
        (self.folder / "root.pem").write_bytes(root.public_bytes(serialization.Encoding.PEM))
        (self.folder / "tsa.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        encoding, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        private = key.private_bytes(encoding, kind, serialization.NoEncryption())
        (self.folder / "tsa.key").write_bytes(private)
        (self.folder / "serial").write_text("01\n")
        (self.folder / "tsa.cnf").write_text(
            f"[tsa]\ndefault_tsa = t\n[t]\nserial = {self.folder}/serial\ncrypto_device = builtin\n"
            f"signer_cert = {self.folder}/tsa.pem\nsigner_key = {self.folder}/tsa.key\nsigner_digest = sha256\n"
            "default_policy = 1.2.3.4\ndigests = sha256, sha384, sha512\nordering = no\n"
        )

    def _certificate(self, subject, issuer, key, signer, begins, ends, usage=None):
        builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number(), begins, ends)
        if usage is None:
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        else:
            builder = builder.add_extension(usage, critical=True)
        identity = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        builder = builder.add_extension(identity, critical=False).add_extension(authority, critical=False)
        return builder.sign(signer, hashes.SHA256())

    @property
    def roots(self):
        return timestamp.load_roots(self.folder / "root.pem")

    def stamp(self, data):
        (self.folder / "query").write_bytes(timestamp.request_for(data))
        command = ["openssl", "ts", "-reply", "-queryfile", "query", "-config", "tsa.cnf", "-out", "reply"]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True)
        return (self.folder / "reply").read_bytes()


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


# signatures


def test_pynacl_and_openssl_verify_what_the_specification_says(key, tmp_path):
    from nacl.signing import VerifyKey

    private, public = key
    made = json.loads(envelope.sign(b'{"a": 1}', "text/x", private))
    payload, signature = (base64.b64decode(text) for text in (made["payload"], made["signatures"][0]["sig"]))
    message = b"DSSEv1 6 text/x 8 " + payload
    VerifyKey(public.key.public_bytes_raw()).verify(message, signature)
    if shutil.which("openssl"):
        (tmp_path / "message").write_bytes(message)
        (tmp_path / "signature").write_bytes(signature)
        command = [
            "openssl",
            "pkeyutl",
            "-verify",
            "-pubin",
            "-inkey",
            "owner.pub",
            "-rawin",
            "-in",
            "message",
            "-sigfile",
            "signature",
        ]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert "Signature Verified Successfully" in done.stdout


def test_securesystemslib_verifies_ours_and_we_verify_its(key):
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner, SSlibKey

    private, public = key
    ours = json.loads(envelope.sign(b"payload", attestation.PAYLOAD_TYPE, private))
    theirs = SSlibKey.from_crypto(public.key, keyid=public.id)
    assert Envelope.from_dict(json.loads(json.dumps(ours))).verify([theirs], 1)
    made = Envelope(b"other", attestation.PAYLOAD_TYPE, {})
    made.sign(CryptoSigner(private, theirs))
    found = envelope.opened(json.dumps(made.to_dict()).encode(), [public])
    assert (found.payload, found.signer) == (b"other", public.id)


def test_a_changed_payload_or_another_key_is_refused(key, tmp_path):
    private, public = key
    made = json.loads(envelope.sign(b"FAILED", "t", private))
    made["payload"] = base64.b64encode(b"PASSED").decode()
    with pytest.raises(SignatureError, match="no trusted key has signed this"):
        envelope.opened(json.dumps(made).encode(), [public])
    (tmp_path / "other.pub").write_bytes(envelope.new_key(b"")[1])
    other = envelope.load_public(tmp_path / "other.pub")
    signed = envelope.sign(b"FAILED", "t", private)
    with pytest.raises(SignatureError, match=other.id):
        envelope.opened(signed, [other])
    assert envelope.opened(signed, [other, public]).signer == public.id


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("payload"),
        lambda d: d.update(payload=5),
        lambda d: d.update(payload="*"),
        lambda d: d.update(payloadType=None),
        lambda d: d.update(signatures=[]),
        lambda d: d.update(signatures=[1]),
        lambda d: d.update(signatures=d["signatures"] * 17),
        lambda d: d["signatures"][0].pop("sig"),
        lambda d: d["signatures"][0].update(sig="AAAA"),
    ],
)
def test_what_is_no_envelope_is_refused(key, change):
    made = json.loads(envelope.sign(b"x", "t", key[0]))
    change(made)
    with pytest.raises(SignatureError):
        envelope.opened(json.dumps(made).encode(), [key[1]])
    for data in (b"", b"[]", b"\xff", b'{"a": 1, "a": 2}'):
        with pytest.raises(SignatureError, match="not a signed envelope"):
            envelope.opened(data, [key[1]])


def test_keys_of_other_kinds_are_refused(tmp_path, key):
    rsa = ec.generate_private_key(ec.SECP256R1())
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (tmp_path / "ec.key").write_bytes(rsa.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain))
    public = rsa.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "ec.pub").write_bytes(public)
    with pytest.raises(SignatureError, match="expected an Ed25519 key"):
        envelope.load_private(tmp_path / "ec.key", b"")
    with pytest.raises(SignatureError, match="expected an Ed25519 key"):
        envelope.load_public(tmp_path / "ec.pub")
    for load in (lambda path: envelope.load_private(path, b""), envelope.load_public):
        with pytest.raises(SignatureError, match="cannot read the key"):
            load(tmp_path / "none")
    with pytest.raises(SignatureError, match="not a public key"):
        envelope.load_public(tmp_path / "owner.key")
    with pytest.raises(SignatureError, match="not a private key"):
        envelope.load_private(tmp_path / "owner.pub", b"")


def test_each_kind_of_file_is_a_statement(fingerprint, committed, make_onnx, tmp_path, key):
    save_fingerprint(fingerprint, tmp_path / "f")
    (tmp_path / "c").write_bytes(committed.to_bytes())
    for number in range(3):
        (tmp_path / "panel").mkdir(exist_ok=True)
        make_onnx(tmp_path / "panel" / f"{number}.onnx", weights=np.eye(4, 3) * (number + 1))
    (tmp_path / "v").write_text(FORMATS["json"].vetting(vet(fingerprint, tmp_path / "panel")))
    result = verify(fingerprint, make_onnx(tmp_path / "m.onnx"), proof=Proof(committed))
    (tmp_path / "r").write_text(FORMATS["json"].result(result))
    found = {}
    for name in "fcvr":
        signed = envelope.opened(
            envelope.sign(attestation.statement_of(tmp_path / name), attestation.PAYLOAD_TYPE, key[0]), [key[1]]
        )
        found[name] = attestation.read_statement(signed)
    assert [one.kind for one in found.values()] == ["fingerprint", "commitment", "vetting", "verdict"]
    assert found["f"].sha256 == fingerprint.sha256
    assert found["c"].sha256 == committed.sha256
    assert found["v"].predicate["fingerprint"]["digest"]["sha256"] == fingerprint.sha256
    verdict = found["r"]
    assert (verdict.name, verdict.sha256) == ("m.onnx", result.suspect.sha256)
    assert (verdict.predicate["result"], verdict.verdict) == ("FAILED", "derived")
    assert [one["name"] for one in verdict.predicate["configuration"]] == ["fingerprint", "commitment"]
    with open(f"{FORMATS_FOLDER}/verdict-1.schema.json") as file:
        jsonschema.Draft202012Validator(json.load(file)).validate(verdict.predicate)


def test_what_is_no_kind_of_file_is_not_signed(fingerprint, suspect, tmp_path):
    path = tmp_path / "x"
    for content in (b"", b"text", b"{}", b'{"format": "fpverify-result-1"}', b'{"format": "fpverify-result-99"}'):
        path.write_bytes(content)
        with pytest.raises(SignatureError, match=r"a fingerprint, a commitment, a vetting or a verdict|no fingerprint"):
            attestation.statement_of(path)
    for content in (b'{"format": "fpverify-vetting-1"}', b'{"format": "fpverify-vetting-zzz", "fingerprint": 5}'):
        path.write_bytes(content)
        with pytest.raises(PanelError, match="x: "):
            attestation.statement_of(path)
    path.write_bytes(b'{"format": "fpverify-commitment-9"}')
    with pytest.raises(CommitmentError, match="format must be 'fpverify-commitment-1'"):
        attestation.statement_of(path)
    path.write_text(FORMATS["json"].result(verify(fingerprint, suspect)))
    with pytest.raises(SignatureError, match="a suspect that is no file"):
        attestation.statement_of(path)
    path.write_bytes(b"[]")
    with pytest.raises(SignatureError, match=r"x: holds several verdicts; sign each by itself"):
        attestation.statement_of(path)
    with pytest.raises(SignatureError, match="cannot read"):
        attestation.statement_of(tmp_path / "none")


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(_type="other"),
        lambda d: d.update(predicateType="https://slsa.dev/provenance/v1"),
        lambda d: d.update(subject=[]),
        lambda d: d.update(subject=[{"digest": {"sha512": "00"}}]),
        lambda d: d.update(subject=[5]),
        lambda d: d.update(predicate=5),
        lambda d: d.pop("predicate"),
    ],
)
def test_other_statements_are_refused(fingerprint, tmp_path, change):
    save_fingerprint(fingerprint, tmp_path / "f")
    document = json.loads(attestation.statement_of(tmp_path / "f"))
    change(document)
    payload = json.dumps(document).encode()
    with pytest.raises(SignatureError, match="not a statement"):
        attestation.read_statement(envelope.Signed(attestation.PAYLOAD_TYPE, payload, "k"))
    with pytest.raises(SignatureError, match="payloadType"):
        attestation.read_statement(envelope.Signed("text/x", payload, "k"))


# timestamps


def test_a_timestamp_says_when(authority):
    before = datetime.now(UTC) - timedelta(seconds=2)
    token = authority.stamp(b"commitment")
    assert (
        before <= timestamp.time_of(token, b"commitment", authority.roots) <= datetime.now(UTC) + timedelta(seconds=2)
    )


def test_timestamps_that_prove_nothing_are_refused(authority, tmp_path):
    token = authority.stamp(b"commitment")
    with pytest.raises(TimestampError, match="of another file"):
        timestamp.time_of(token, b"altered", authority.roots)
    with pytest.raises(TimestampError, match="that the roots vouch for"):
        timestamp.time_of(token, b"commitment", Authority(tmp_path, name="other").roots)
    refused, stamped = 0, timestamp.time_of(token, b"commitment", authority.roots)
    for place in range(len(token)):
        broken = bytearray(token)
        broken[place] ^= 0x10
        try:  # the name of the signature's algorithm and two version numbers are not signed, and mean nothing
            assert timestamp.time_of(bytes(broken), b"commitment", authority.roots) == stamped
        except TimestampError:
            refused += 1
    assert refused > 0.95 * len(token)
    for cut in (0, 1, 100, len(token) - 1):
        with pytest.raises(TimestampError):
            timestamp.time_of(token[:cut], b"commitment", authority.roots)


def test_an_authority_must_have_been_valid_then_and_may_have_expired_since(tmp_path):
    expired = Authority(tmp_path, begins=-7200, ends=-3600, name="expired")
    with pytest.raises(TimestampError, match="that the roots vouch for"):
        timestamp.time_of(expired.stamp(b"x"), b"x", expired.roots)
    brief = Authority(tmp_path, begins=-60, ends=3, name="brief")
    token = brief.stamp(b"x")
    time.sleep(3.5)
    assert timestamp.time_of(token, b"x", brief.roots) < datetime.now(UTC)


def test_roots_must_be_certificates(tmp_path):
    (tmp_path / "x.pem").write_text("nothing")
    with pytest.raises(TimestampError, match="no certificate in PEM"):
        timestamp.load_roots(tmp_path / "x.pem")


# what a verdict says of them


def signed_by(private, payload):
    return envelope.sign(payload, attestation.PAYLOAD_TYPE, private)


@pytest.fixture
def statement(committed, tmp_path):
    (tmp_path / "c.json").write_bytes(committed.to_bytes())
    return attestation.statement_of(tmp_path / "c.json")


@pytest.fixture
def later(monkeypatch):
    """Judge in a hundred years: a stamp of today is older than a suspect that was released in between."""
    monkeypatch.setattr("fpverify.proof.examination.now", lambda: datetime(2126, 1, 1, tzinfo=UTC))


@pytest.mark.usefixtures("later")
def test_a_verdict_says_who_signed_and_what_is_older(fingerprint, committed, statement, suspect, key, authority):
    private, public = key
    token, tomorrow = authority.stamp(committed.to_bytes()), datetime.now(UTC) + timedelta(days=1)
    trust = Trust((public,), tuple(authority.roots))
    proof = Proof(committed, signature=signed_by(private, statement), timestamp=token, released=tomorrow, trust=trust)
    result = verify(fingerprint, suspect, proof=proof)
    assert result.verdict is Verdict.DERIVED
    found = result.provenance
    assert (found.of, found.signer, found.older) == ("commitment", public.id, True)
    assert found.stamped_at < found.released_at
    assert result.warnings == ()
    text = FORMATS["text"].result(result)
    assert "before the suspect was released" in text
    assert public.id in text
    late = Proof(committed, timestamp=token, released=tomorrow - timedelta(days=2), trust=trust)
    result = verify(fingerprint, suspect, proof=late)
    assert result.provenance.older is False
    assert result.verdict is Verdict.INCONCLUSIVE  # keys that may have been made against it accuse nobody
    assert "But the keys may have been made against it" in result.reason
    assert "keys may have been made against it" in result.warnings[0]
    assert "NOT before" in FORMATS["text"].result(result)
    silent = verify(fingerprint, suspect, proof=Proof(committed, timestamp=token, trust=trust))
    assert silent.provenance.older is None
    assert "give its release" in silent.warnings[0]


def test_without_a_commitment_the_fingerprint_itself_is_signed(fingerprint, suspect, key, tmp_path, authority):
    save_fingerprint(fingerprint, tmp_path / "f.safetensors")
    private, public = key
    signature = signed_by(private, attestation.statement_of(tmp_path / "f.safetensors"))
    token = authority.stamp((tmp_path / "f.safetensors").read_bytes())
    trust = Trust((public,), tuple(authority.roots))
    result = verify(fingerprint, suspect, proof=Proof(signature=signature, timestamp=token, trust=trust))
    assert (result.provenance.of, result.provenance.signer, result.proof) == ("fingerprint", public.id, None)


def test_what_was_signed_or_stamped_must_be_what_is_used(
    fingerprint, committed, statement, suspect, key, authority, make_backed
):
    private, public = key
    trust = Trust((public,), tuple(authority.roots))
    asked = []

    def watched(inputs):
        asked.append(1)
        return suspect(inputs)

    other = commit(make_backed(fingerprint={"seeds": {"run": 8}}), b"s" * 32)
    for proof, error, message in (
        (Proof(signature=signed_by(private, statement), trust=trust), SignatureError, "something else was signed"),
        (Proof(committed, signature=signed_by(private, statement)), SignatureError, "whose signature counts"),
        (Proof(committed, signature=b"{}", trust=trust), SignatureError, "not a signed envelope"),
        (Proof(committed, timestamp=authority.stamp(other.to_bytes()), trust=trust), TimestampError, "another file"),
        (Proof(committed, timestamp=b"x"), TimestampError, "which authorities are trusted"),
    ):
        with pytest.raises(error, match=message):
            verify(fingerprint, watched, proof=proof)
    assert asked == []


@pytest.mark.usefixtures("later")
def test_a_policy_gives_no_verdict_without_what_it_demands(
    fingerprint, committed, statement, suspect, key, authority, by_key
):
    private, public = key
    roots, tomorrow = tuple(authority.roots), datetime.now(UTC) + timedelta(days=1)
    trust = Trust((public,), roots, frozenset({"signature", "commitment", "timestamp", "vetting"}))
    lost = np.where(np.arange(24) < 6, fingerprint.labels, (fingerprint.labels + 1) % 3)
    panel = vet(fingerprint, [by_key(fingerprint, lost) for _ in range(3)])
    whole = {
        "commitment": committed,
        "signature": signed_by(private, statement),
        "timestamp": authority.stamp(committed.to_bytes()),
        "released": tomorrow,
    }
    result = verify(fingerprint, suspect, proof=Proof(**whole, trust=trust), vetting=panel)
    assert result.verdict is Verdict.DERIVED
    with pytest.raises(TrustError, match="demands a vetting"):
        verify(fingerprint, suspect, proof=Proof(**whole, trust=trust))
    larger = Trust((public,), roots, trust.require, panel=19)
    with pytest.raises(TrustError, match="with 19 models that count"):
        verify(fingerprint, suspect, proof=Proof(**whole, trust=larger), vetting=panel)
    for name, message in (
        ("commitment", "demands a commitment"),
        ("signature", "demands a signature"),
        ("timestamp", "demands a timestamp"),
        ("released", "older than the suspect's release"),
    ):
        with pytest.raises(TrustError, match=message):
            verify(fingerprint, suspect, proof=Proof(**{**whole, name: None}, trust=trust), vetting=panel)
    late = {**whole, "released": tomorrow - timedelta(days=2)}
    with pytest.raises(TrustError, match="older than the suspect's release"):
        verify(fingerprint, suspect, proof=Proof(**late, trust=trust), vetting=panel)


def test_policies_are_files(key, authority, tmp_path):
    policy = tmp_path / "policy.toml"
    policy.write_text('keys = ["owner.pub"]\nroots = ["root/root.pem"]\nrequire = ["commitment"]\npanel = 19\n')
    found = load_trust([policy])
    assert ([one.id for one in found.keys], found.require, found.panel) == ([key[1].id], {"commitment"}, 19)
    assert list(found.roots) == authority.roots
    assert load_trust([tmp_path / "owner.pub"]).require == {"signature"}
    for text, message in (
        ("keys = 5", "keys must be a list of texts"),
        ("panel = 2", "an integer of at least 3"),
        ('require = ["proof"]', "some of signature, commitment, timestamp, vetting"),
        ("other = 1", "expected keys, roots, require and panel"),
        ("[", "not a trust policy"),
        ('keys = ["none.pub"]', r"none\.pub"),
    ):
        policy.write_text(text)
        with pytest.raises((TrustError, SignatureError), match=message):
            load_trust([policy])
    with pytest.raises(TrustError, match="cannot read the trust policy"):
        load_trust([tmp_path / "none.toml"])


# the commands


class TestCommands:
    @pytest.fixture
    def place(self, fingerprint, make_onnx, tmp_path, monkeypatch):
        save_fingerprint(fingerprint, tmp_path / "f.safetensors")
        make_onnx(tmp_path / "m.onnx")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("FPVERIFY_PASSPHRASE", "correct horse")
        assert self.run("keygen", "-o", "owner").exit_code == 0
        assert self.run("commit", "f.safetensors", "-o", "c.json", "--secret", "secret").exit_code == 0
        assert self.run("sign", "c.json", "--key", "owner.key", "-o", "c.dsse").exit_code == 0
        return tmp_path

    def run(self, *arguments, **more):
        return CliRunner().invoke(main, [str(argument) for argument in arguments], **more)

    def test_a_policy_that_cannot_be_checked_is_refused(self, place, authority):
        (place / "p.toml").write_text('keys = ["owner.pub"]\nroots = ["root/root.pem"]\nrequire = ["vetting"]\n')
        done = self.run("check", "c.dsse", "--trust", "p.toml")
        assert done.exit_code == 2
        assert "fpverify check cannot check the vetting that the trust policy demands" in done.output
        (place / "p.toml").write_text('keys = ["owner.pub"]\nroots = ["root/root.pem"]\nrequire = ["timestamp"]\n')
        assert "demands a timestamp: none was given" in self.run("check", "c.dsse", "--trust", "p.toml").output
        done = self.run("check", "c.dsse", "--trust", "owner.pub", "--tsa-roots", "root/root.pem")
        assert "--tsa-roots: they say nothing without --timestamp" in done.output
        assert self.run("timestamp-request", "c.dsse", "-o", "root/query").exit_code == 0
        command = ["openssl", "ts", "-reply", "-queryfile", "query", "-config", "tsa.cnf", "-out", "reply"]
        subprocess.run(command, cwd=authority.folder, check=True, capture_output=True)
        done = self.run("check", "c.dsse", "--trust", "p.toml", "--timestamp", "root/reply")  # the policy's roots
        assert done.exit_code == 0, done.output
        assert "stamped at   20" in done.output

    def test_a_report_that_makes_no_sense_is_not_signed(self, place):
        self.run("verify", "m.onnx", "-f", "f.safetensors", "--format", "json", "-o", "r.json")
        report = json.loads((place / "r.json").read_text())
        for changes in ({"p_value": "x"}, {"more": 1}, {"kept": 99}):
            (place / "x.json").write_text(json.dumps({**report, **changes}))
            done = self.run("sign", "x.json", "--key", "owner.key", "-o", "x.dsse")
            assert done.exit_code == 2, (changes, done.output)
            assert not (place / "x.dsse").exists()

    def test_a_private_key_is_its_owners_alone_and_not_replaced(self, place, monkeypatch):
        assert stat.S_IMODE((place / "owner.key").stat().st_mode) == 0o600
        assert b"ENCRYPTED" in (place / "owner.key").read_bytes()
        before = (place / "owner.key").read_bytes()
        assert self.run("keygen", "-o", "owner").exit_code == 2
        (place / "owner.pub").unlink()
        done = self.run("keygen", "-o", "owner")
        assert done.exit_code == 2
        assert "there is a key already" in done.output
        assert (place / "owner.key").read_bytes() == before
        assert not (place / "owner.pub").exists()
        monkeypatch.setenv("FPVERIFY_PASSPHRASE", "")
        done = self.run("keygen", "-o", "empty")
        assert "an empty passphrase protects nothing" in done.output
        assert self.run("keygen", "-o", "open", "--no-passphrase").exit_code == 0
        monkeypatch.delenv("FPVERIFY_PASSPHRASE")
        assert self.run("keygen", "-o", "asked", input="one\none\n").exit_code == 0
        done = self.run("sign", "c.json", "--key", "asked.key", "-o", "x", input="two\n")
        assert (done.exit_code, (place / "x").exists()) == (2, False)
        assert "the passphrase is wrong" in done.output
        assert "two" not in done.output
        assert self.run("sign", "c.json", "--key", "open.key", "-o", "x").exit_code == 0  # it asks for nothing

    @pytest.mark.usefixtures("later")
    def test_the_path_of_a_dispute(self, place, authority):
        assert self.run("timestamp-request", "c.json", "-o", "root/query").exit_code == 0
        command = ["openssl", "ts", "-reply", "-queryfile", "query", "-config", "tsa.cnf", "-out", "reply"]
        subprocess.run(command, cwd=authority.folder, check=True, capture_output=True)
        done = self.run("check", "c.json", "--timestamp", "root/reply", "--tsa-roots", "root/root.pem")
        assert done.exit_code == 0, done.output
        assert done.output.startswith("stamped at   20")
        judged = ["verify", "m.onnx", "-f", "f.safetensors", "--commitment", "c.json", "--signature", "c.dsse"]
        judged += ["--trust", "owner.pub", "--timestamp", "root/reply", "--tsa-roots", "root/root.pem"]
        done = self.run(*judged, "--released", "2099-01-01")
        assert done.exit_code == 3, done.output
        assert "before the suspect was released (2099-01-01T00:00:00+00:00, as the auditor states it)" in done.output
        done = self.run(*judged, "--released", "2020-01-01", "--format", "json", "-o", "r.json")
        assert done.exit_code == 4, done.output
        assert json.loads((place / "r.json").read_text())["provenance"]["older"] is False
        assert self.run("sign", "r.json", "--key", "owner.key", "-o", "r.dsse").exit_code == 0
        done = self.run("check", "r.dsse", "--trust", "owner.pub", "--of", "m.onnx")
        assert done.exit_code == 0, done.output
        assert "verdict      inconclusive" in done.output
        done = self.run("check", "r.dsse", "--trust", "owner.pub", "--of", "f.safetensors")
        assert done.exit_code == 2
        assert "something else was signed" in done.output

    def test_a_policy_is_obeyed(self, place):
        (place / "policy.toml").write_text('keys = ["owner.pub"]\nrequire = ["signature", "commitment", "vetting"]\n')
        judged = ["verify", "m.onnx", "-f", "f.safetensors", "--trust", "policy.toml"]
        done = self.run(*judged)
        assert done.exit_code == 2
        assert "the trust policy demands a commitment: none was given; give --commitment" in done.output
        done = self.run(*judged, "--commitment", "c.json", "--signature", "c.dsse")
        assert done.exit_code == 2
        assert "demands a vetting" in done.output

    def test_what_says_nothing_is_refused(self, place):
        assert self.run("check", "c.json").exit_code == 2
        assert self.run("check", "c.json", "--timestamp", "c.json").exit_code == 2
        assert self.run("check", "c.json", "--of", "m.onnx", "--timestamp", "c.json").exit_code == 2
        done = self.run("check", "c.json", "--trust", "owner.pub")
        assert "c.json: not a signed envelope" in done.output
        assert self.run("sign", "m.onnx", "--key", "owner.key", "-o", "x").exit_code == 2
        assert not (place / "x").exists()


def test_the_policy_of_a_commitment_is_kept_without_one(fingerprint, suspect):
    """A proof without a commitment leaves the auditor's own policy."""
    result = verify(fingerprint, suspect, policy=Policy(significance=0.05), proof=Proof())
    assert result.policy.significance == 0.05
    assert result.provenance is None


def test_what_is_not_installed_is_named(monkeypatch):
    import builtins

    def missing(name, *rest, **more):
        if name.startswith("cryptography"):
            raise ImportError(name)
        return real(name, *rest, **more)

    real = builtins.__import__
    monkeypatch.setattr("importlib.import_module", lambda name: missing(name))
    with pytest.raises(SignatureError, match=r"cryptography is not installed; pip install 'fpverify\[proof\]'"):
        envelope.new_key(b"")


# what reviewers tried


def test_an_owner_cannot_commit_the_auditor_to_a_lax_policy(fingerprint, suspect):
    """At a significance of 0.99 a panel refuses nothing, and anybody is called derived."""
    lax = commit(fingerprint, b"s" * 32, Policy(significance=0.99))
    with pytest.raises(PolicyError, match=r"accuses more easily than yours.*give --significance 0.99 if you accept it"):
        verify(fingerprint, suspect, proof=Proof(lax))
    accepted = verify(fingerprint, suspect, policy=lax.policy, proof=Proof(lax))
    assert accepted.policy.significance == 0.99
    for policy in (Policy(confidence=0.5), Policy(min_keys=1)):
        with pytest.raises(PolicyError, match="accuses more easily"):
            verify(fingerprint, suspect, proof=Proof(commit(fingerprint, b"s" * 32, policy)))


def test_a_policy_that_demands_a_commitment_demands_a_fair_draw(fingerprint, committed, by_key):
    part = disclose(fingerprint, committed, b"s" * 32, 20)  # the owner chose
    whose = by_key(fingerprint, fingerprint.labels)
    assert "the owner chose" in verify(part, whose, proof=Proof(committed)).warnings[0]
    with pytest.raises(TrustError, match="the owner chose which 20 of 24 keys to show"):
        verify(part, whose, proof=Proof(committed, trust=Trust(require=frozenset({"commitment"}))))
    assert "nothing shows that it was committed" in verify(part, whose).warnings[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["predicate"].update(result="PASSED"),
        lambda d: d["predicate"]["report"].update(verdict="unrelated"),
        lambda d: d["predicate"]["report"]["suspect"].update(sha256="f" * 64),
        lambda d: d["predicate"]["report"]["suspect"].update(external=5),
        lambda d: d.update(predicate={}),
        lambda d: d["subject"][0]["digest"].update(sha256="ab\nis about     m.onnx"),
    ],
)
def test_a_signed_verdict_says_one_thing(fingerprint, make_onnx, tmp_path, change):
    (tmp_path / "r").write_text(FORMATS["json"].result(verify(fingerprint, make_onnx(tmp_path / "m.onnx"))))
    document = json.loads(attestation.statement_of(tmp_path / "r"))
    change(document)
    signed = envelope.Signed(attestation.PAYLOAD_TYPE, json.dumps(document).encode(), "k")
    with pytest.raises(SignatureError, match=r"not a statement|do not fit each other"):
        attestation.read_statement(signed)


def test_texts_that_are_no_ascii_are_one_line(key, fingerprint, committed):
    made = json.loads(envelope.sign(b"x", "t", key[0]))
    for change in ({"payload": "\u00e9"}, {"payloadType": "\ud800"}):
        with pytest.raises(SignatureError):
            envelope.opened(json.dumps({**made, **change}).encode(), [key[1]])
    with pytest.raises(CommitmentError, match="a text in UTF-8"):
        disclose(fingerprint, committed, b"s" * 32, fpverify.Draw("\ud800", 20, "01" * 32, "ef" * 32))


def test_a_key_that_signs_everything_is_refused(tmp_path):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    small = Ed25519PublicKey.from_public_bytes(b"\x01" + bytes(31))
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    (tmp_path / "small.pub").write_bytes(small.public_bytes(encoding, form))
    with pytest.raises(SignatureError, match="anything is signed with"):
        envelope.load_public(tmp_path / "small.pub")


def test_a_release_is_a_time_in_a_zone(committed):
    naive = Proof(committed, released=datetime(2026, 11, 27, 10))
    assert naive.released == datetime(2026, 11, 27, 10, tzinfo=UTC)
    with pytest.raises(PolicyError, match=r"expected a datetime|must be a datetime"):
        Proof(committed, released="2026-11-27")
    with pytest.raises(PolicyError, match="released"):
        Proof(committed, released=datetime.min.replace(tzinfo=timezone(timedelta(hours=1))))


def test_a_release_without_a_timestamp_says_nothing(fingerprint, committed, suspect):
    with pytest.raises(PolicyError, match="released must be a date that is past"):  # a slip of the pen proves nothing
        Proof(committed, released=datetime.now(UTC) + timedelta(days=1))
    with pytest.raises(PolicyError, match="--released: says nothing without --timestamp"):
        verify(fingerprint, suspect, proof=Proof(committed, released=datetime.now(UTC)))


@pytest.mark.parametrize("wrong", [{"require": frozenset({"timestmp"})}, {"panel": 0}, {"panel": True}])
def test_trust_that_makes_no_sense(wrong):
    with pytest.raises(TrustError, match=next(iter(wrong))):
        Trust(**wrong)


def test_a_policys_large_numbers_are_one_line(tmp_path):
    for text in (f"panel = {'9' * 5000}", f"keys = 0x{'f' * 4000}"):
        (tmp_path / "p.toml").write_text(text)
        with pytest.raises(TrustError, match=r"p\.toml"):
            load_trust([tmp_path / "p.toml"])


class TestFiles:
    def run(self, *arguments, **more):
        return CliRunner().invoke(main, [str(argument) for argument in arguments], **more)

    @pytest.fixture
    def place(self, fingerprint, make_onnx, tmp_path, monkeypatch):
        save_fingerprint(fingerprint, tmp_path / "f.safetensors")
        make_onnx(tmp_path / "m.onnx")
        monkeypatch.chdir(tmp_path)
        assert self.run("keygen", "-o", "k", "--no-passphrase").exit_code == 0
        assert self.run("commit", "f.safetensors", "-o", "c.json", "--secret", "s").exit_code == 0
        return tmp_path

    def test_no_output_replaces_an_input(self, place):
        before = {path.name: path.read_bytes() for path in place.iterdir()}
        for arguments in (
            ["commit", "f.safetensors", "-o", "x", "--secret", "x"],
            ["commit", "f.safetensors", "-o", "f.safetensors", "--secret", "y"],
            ["sign", "c.json", "--key", "k.key", "-o", "k.key"],
            ["sign", "c.json", "--key", "k.key", "-o", "c.json"],
            ["timestamp-request", "c.json", "-o", "c.json"],
            ["verify", "m.onnx", "-f", "f.safetensors", "--trust", "k.pub", "-o", "k.pub"],
            ["verify", "m.onnx", "-f", "f.safetensors", "--tsa-roots", "c.json", "-o", "c.json"],
            ["vet", "f.safetensors", "--panel", ".", "-o", "m.onnx"],
        ):
            done = self.run(*arguments)
            assert done.exit_code == 2, (arguments, done.output)
            assert "overwrite" in done.output, (arguments, done.output)
        assert {path.name: path.read_bytes() for path in place.iterdir()} == before

    def test_a_disk_that_is_full_leaves_no_half_of_a_secret(self, place, monkeypatch):
        monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        for arguments in (
            ["keygen", "-o", "half", "--no-passphrase"],
            ["nonce", "c.json", "--suspect", "x", "--keys", "20", "-o", "half.key"],
        ):
            done = self.run(*arguments)
            assert done.exit_code == 2
            assert "No space left" in done.output
            assert not (place / "half.key").exists()

    def test_a_verdict_binds_the_files_beside_the_suspect(self, place, fingerprint):
        import onnx

        model = onnx.load(place / "m.onnx")
        onnx.save(model, place / "ext.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
        done = self.run("verify", "ext.onnx", "-f", "f.safetensors", "--format", "json", "-o", "r.json")
        assert done.exit_code == 3, done.output
        assert self.run("sign", "r.json", "--key", "k.key", "-o", "r.dsse").exit_code == 0
        check = ["check", "r.dsse", "--trust", "k.pub", "--of", "ext.onnx"]
        assert self.run(*check).exit_code == 0
        data = bytearray((place / "w.bin").read_bytes())
        data[0] ^= 1
        (place / "w.bin").write_bytes(data)
        done = self.run(*check)
        assert done.exit_code == 2
        assert "w.bin" in done.output

    def test_passphrases_that_cannot_be(self, place, monkeypatch):
        done = self.run("keygen", "-o", "a", input="")
        assert done.exit_code == 2
        assert "no passphrase; set FPVERIFY_PASSPHRASE" in done.output
        monkeypatch.setenv("FPVERIFY_PASSPHRASE", "x" * 1001)
        assert "at most 1000 bytes" in self.run("keygen", "-o", "a").output
        monkeypatch.setenv("FPVERIFY_PASSPHRASE", "geheim\udcff")
        assert self.run("keygen", "-o", "a").exit_code == 0
        monkeypatch.setenv("FPVERIFY_PASSPHRASE", "")
        done = self.run("sign", "c.json", "--key", "a.key", "-o", "z")
        assert "it needs its passphrase" in done.output
        assert self.run("keygen", "-o", ".", "--no-passphrase").exit_code == 2
        (place / "empty").write_bytes(b"")
        assert "an empty file" in self.run("timestamp-request", "empty", "-o", "q").output
