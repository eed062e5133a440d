"""How Alembic reaches the database. ``monitor`` runs this with its own connection; the alembic command with -x url=…"""

from alembic import context
from sqlalchemy import create_engine

from sentiment_monitor.store.schema import metadata


def run(connection: object) -> None:
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    url = context.get_x_argument(as_dictionary=True).get("url")
    if not url:
        raise SystemExit("say which database: alembic -x url=sqlite:///monitor.sqlite upgrade head")
    with create_engine(url).connect() as connection:
        run(connection)
