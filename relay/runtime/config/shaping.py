"""Settings of shaping: whether, and where the operator's own rules are."""

from relay.runtime.config.section import Section, setting
from relay.runtime.config.values import FilePath, Flag


class Shaping(Section):
    """How much each receiver bears, and what its replies mean; the rules are in files of their own."""

    enabled: Flag = setting(
        True, "Uses what is known of large providers; `false`: every destination gets the limits of `delivery`."
    )
    directory: FilePath | None = setting(
        None, "A directory with rules of your own (`*.yaml`). A file goes before the shipped one of the same name."
    )
    files: tuple[FilePath, ...] = setting((), "Further files with rules of your own.", max_length=1000)
