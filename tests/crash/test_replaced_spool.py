"""The spool is deleted, and an old copy of it comes back, beside files that know of events: none is left out."""

import shutil

from tests.crash.ledger import checked
from tests.product import Product, Receiver


def refuse(verb, line):
    return "550 5.1.1 no such user" if verb == "RCPT" else None


def test_a_new_spool_and_an_old_copy_of_it_leave_no_event_out():
    with Receiver(answer=refuse) as receiver:
        product = Product(receiver.port, suppression=True)
        spool, copy = product.data_dir / "spool", product.directory / "copy"
        try:
            bounced = []
            for step in ("first", "second", "deleted", "restored", "went on"):
                if step == "deleted":
                    shutil.rmtree(spool)
                if step == "restored":
                    shutil.rmtree(spool)
                    shutil.copytree(copy, spool)
                product.start()
                for number in range(3):
                    bounced.append(f"gone{number}-{step.replace(' ', '-')}@remote.example")
                    product.send(bounced[-1])
                product.wait_event("Bounce", len(bounced))
                product.stop()
                if step == "first":
                    shutil.copytree(spool, copy)
            assert checked(product, bounced=dict.fromkeys(bounced, 1)) == {"Send": 15, "Bounce": 15}
        finally:
            product.stop()
            shutil.rmtree(product.directory, ignore_errors=True)
