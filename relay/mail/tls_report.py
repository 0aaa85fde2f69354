"""A TLS report as a mail (RFC 8460 section 5.3): multipart/report with the gzipped JSON, and fields that say so.

It carries `TLS-Required: No`, because a report about broken TLS must arrive through it (RFC 8689 section 3), and is
signed and given its Message-ID when it is sent.
"""

from base64 import b64encode

from relay.mail.letter import Letter, bare, finished, opening

BOUNDARY = "=_tls-report"
LINE_CHARS = 76  # RFC 2045 section 6.8


def write_tls_report(
    *, product: str, sender: str, recipient: str, domain: str, hostname: str, report_id: str, file_name: str,
    packed: bytes, now_ms: int,
) -> Letter:  # fmt: skip
    """Return head and body; `packed` is the gzipped report."""
    subject = f"Report Domain: {domain} Submitter: {hostname} Report-ID: <{report_id}>"
    head = opening(product, sender, recipient, subject, now_ms)
    head += [
        f"TLS-Report-Domain: {domain}",
        f"TLS-Report-Submitter: {hostname}",
        "TLS-Required: No",
        'Content-Type: multipart/report; report-type="tlsrpt";',
        f' boundary="{BOUNDARY}"',
    ]
    text = b64encode(packed).decode()
    lines = [
        f"--{BOUNDARY}",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        "This is an aggregate TLS report from " + bare(hostname) + ",",
        "about sessions with the mail exchangers of " + bare(domain) + ".",
        "",
        f"--{BOUNDARY}",
        "Content-Type: application/tlsrpt+gzip",
        "Content-Transfer-Encoding: base64",
        "Content-Disposition: attachment;",
        f' filename="{file_name}"',
        "",
        *(text[start : start + LINE_CHARS] for start in range(0, len(text), LINE_CHARS)),
        f"--{BOUNDARY}--",
        "",
    ]
    return finished(head), "\r\n".join(lines).encode()
