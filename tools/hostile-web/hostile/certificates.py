"""An authority of our own, and certificates good and bad."""
import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .kind import DOMAIN, WEB

DAY = datetime.timedelta(days=1)


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Certificates:
    """`folder` holds ca.pem and one PEM with certificate and key for each word."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.now = datetime.datetime.now(datetime.timezone.utc)
        self.authority = self.root("hostile web authority")
        (self.folder / "ca.pem").write_bytes(self.authority[0].public_bytes(serialization.Encoding.PEM))
        stranger = self.root("an authority that nobody knows")
        hosts = [DOMAIN, f"*.{DOMAIN}"]
        self.write("good", hosts)
        self.write("expired", hosts, begin=-30, end=-2)
        self.write("not_yet", hosts, begin=2, end=30)
        self.write("wrong_name", ["elsewhere.example"])
        self.write("self_signed", hosts, authority=None)
        self.write("unknown_authority", hosts, authority=stranger)
        self.contexts = {}

    def root(self, text):
        key = ec.generate_private_key(ec.SECP256R1())
        built = self.builder(name(text), key, -30, 365).issuer_name(name(text))
        built = built.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        return built.add_extension(usage, critical=True).sign(key, hashes.SHA256()), key

    def builder(self, subject, key, begin, end):
        builder = x509.CertificateBuilder().subject_name(subject).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(self.now + begin * DAY).not_valid_after(self.now + end * DAY)

    def write(self, word, hosts, begin=-2, end=30, authority=...):
        key = ec.generate_private_key(ec.SECP256R1())
        issuer, signer = self.authority if authority is ... else authority or (None, key)
        subject = name(hosts[0])
        built = self.builder(subject, key, begin, end).issuer_name(issuer.subject if issuer else subject)
        names = [x509.DNSName(h) for h in hosts] + [x509.IPAddress(ipaddress.ip_address("93.184.10.1"))]
        built = built.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = built.sign(signer, hashes.SHA256())
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (self.folder / f"{word}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)

    def context(self, host):
        """The TLS settings of a host, by the kinds that use it."""
        word, http2 = WEB.certificates.get(host, "good"), host in WEB.http2
        return self.made(word, http2)

    def made(self, word, http2):
        if (word, http2) not in self.contexts:
            old = word == "tls12"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.folder / f"{'good' if old else word}.pem")
            if old:
                context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
            context.sni_callback = self.choose
            self.contexts[word, http2] = context
        return self.contexts[word, http2]

    def choose(self, connection, host, _):
        if host == f"unrecognized.{DOMAIN}":
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = self.context((host or DOMAIN).lower())
        return None
