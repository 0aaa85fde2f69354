"""placeholder."""


def act_offline(shard, action, choice):
    raise NotImplementedError
