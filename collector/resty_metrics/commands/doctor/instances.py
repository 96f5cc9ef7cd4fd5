"""The nginx here, as far as they concern the examined collector: their sockets, names and running workers. Pure."""

from resty_metrics.commands.doctor.facts import SETTLED_SECONDS, Instance, Looked, Subject
from resty_metrics.commands.doctor.finding import UNKNOWN_NGINX
from resty_metrics.commands.doctor.worker_reports import Running
from resty_metrics.nginx_config import statements


def targets_of(instance: Instance, path: str) -> set[str]:
    """Return the sockets that the workers send to. Another name for our socket is returned as our path."""
    if instance.configured is None:
        return set()
    nginx = instance.configured
    stated = statements.sockets(nginx.configuration, nginx.prefix, nginx.texts)
    return {path if setting.value in nginx.aliases else setting.value for setting in stated}


def knows_us(instance: Instance) -> bool:
    nginx = instance.configured
    return nginx is not None and statements.mentions_us(nginx.configuration, nginx.texts)


def name_of(instance: Instance) -> str:
    """Return the name that the workers of this nginx give it on the page."""
    nginx = instance.configured
    return UNKNOWN_NGINX if nginx is None else statements.name(nginx.configuration, nginx.prefix, nginx.texts)


def running_workers(subject: Subject, looked: Looked) -> dict[str, Running]:
    """Return the running workers that send to this socket, by the name of their nginx.

    The count is 0 where several masters have one name, since the page counts the workers of a single master.
    """
    path = subject.socket_path
    by_name: dict[str, Running] = {}
    for instance in looked.instances:
        if knows_us(instance) and path in targets_of(instance, path):
            name = name_of(instance)
            by_name[name] = Running(0) if name in by_name else _workers_of(instance, subject, looked)
    return by_name


def _workers_of(instance: Instance, subject: Subject, looked: Looked) -> Running:
    nginx, collector = instance.configured, subject.running
    assert nginx is not None
    begun = bool(statements.lifecycle(nginx.configuration, nginx.prefix, nginx.texts))
    settled = instance.settled and collector is not None and (collector.seconds or 0.0) >= SETTLED_SECONDS
    connected = {process.pid for process in looked.holders.connected} if looked.holders is not None else set()
    return Running(
        len(instance.workers),
        beats=begun and settled,
        silent=[pid for pid in instance.workers if pid not in connected],
        stopped=instance.stopped,
        reload=instance.reload,
    )
