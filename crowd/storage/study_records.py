"""Records of each participant besides their progress: points, answers, devices, and payments."""

from __future__ import annotations

import sqlalchemy as sql

from .row_checksums import checksum_column

TABLES = sql.MetaData()
"""All tables of a study; the others are in `study_tables`."""

points = sql.Table(
    "points",
    TABLES,
    sql.Column("episode", sql.String, primary_key=True),
    sql.Column("person", sql.String, nullable=False, index=True),
    sql.Column("points", sql.BigInteger, nullable=False),  # in hundredths, see `bonus.points_of`
    checksum_column(),
)
answers = sql.Table(
    "answers",
    TABLES,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("person", sql.String, nullable=False, index=True),
    sql.Column("study", sql.String, nullable=False),
    sql.Column("question", sql.String, nullable=False),
    sql.Column("attempt", sql.Integer, nullable=False),  # from 1
    sql.Column("answer", sql.Integer, nullable=False),  # the number of the answer, from 0
    sql.Column("correct", sql.Boolean, nullable=False),
    sql.Column("language", sql.String, nullable=False),
    sql.Column("at", sql.Double, nullable=False),
    checksum_column(),
    sql.UniqueConstraint("person", "question", "attempt"),
)
devices = sql.Table(
    "devices",
    TABLES,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("person", sql.String, nullable=False, index=True),
    sql.Column("study", sql.String, nullable=False),
    sql.Column("device", sql.String, nullable=False),  # desktop, tablet, phone
    sql.Column("browser", sql.String, nullable=False),  # its family, without a version
    sql.Column("width", sql.Integer, nullable=False),  # of the window, in whole hundreds of CSS pixels
    sql.Column("height", sql.Integer, nullable=False),
    sql.Column("language", sql.String, nullable=False),  # what the browser asks for first, without a region
    sql.Column("at", sql.Double, nullable=False),
    checksum_column(),
)
payments = sql.Table(
    "payments",
    TABLES,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("person", sql.String, nullable=False, index=True),
    sql.Column("study", sql.String, nullable=False),
    sql.Column("kind", sql.String, nullable=False),  # base, bonus
    sql.Column("number", sql.Integer, nullable=False),  # of the entry, from 1 for each person and kind
    sql.Column("state", sql.String, nullable=False),  # owed, approved, paid, refused
    sql.Column("amount", sql.BigInteger, nullable=False),  # in minor units of the currency
    sql.Column("currency", sql.String, nullable=False),
    sql.Column("reason", sql.String, nullable=False),
    sql.Column("answer", sql.JSON, nullable=False),  # what the panel answered; {} where none was asked
    sql.Column("at", sql.Double, nullable=False),
    checksum_column(),
    sql.UniqueConstraint("person", "kind", "number"),  # two servers cannot both write the next entry
)

RECORDS = (points, answers, devices, payments)
"""The tables of this module; each has a column `person`, by which `forget` finds rows to delete."""
