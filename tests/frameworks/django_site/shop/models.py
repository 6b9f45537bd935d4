"""A field of every type that Django has, and every kind of relation and constraint."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.db.models.functions import Lower


class Every(models.Model):
    """A field of every type; all may be NULL, for rows that hold nothing."""

    big = models.BigIntegerField(null=True)
    binary = models.BinaryField(null=True)
    flag = models.BooleanField(default=False)
    perhaps = models.BooleanField(null=True)
    char = models.CharField(max_length=40, null=True)
    comma = models.CharField(max_length=20, blank=True, default="")
    day = models.DateField(null=True)
    moment = models.DateTimeField(null=True)
    touched = models.DateTimeField(auto_now=True)
    price = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    fine = models.DecimalField(max_digits=15, decimal_places=10, null=True)
    lasts = models.DurationField(null=True)
    email = models.EmailField(null=True)
    file = models.FileField(upload_to="files", null=True)
    path = models.FilePathField(path="/", null=True)
    number = models.FloatField(null=True)
    address = models.GenericIPAddressField(null=True)
    four = models.GenericIPAddressField(protocol="IPv4", null=True)
    integer = models.IntegerField(null=True)
    json = models.JSONField(null=True)
    positive_big = models.PositiveBigIntegerField(null=True)
    positive = models.PositiveIntegerField(null=True)
    positive_small = models.PositiveSmallIntegerField(null=True)
    slug = models.SlugField(null=True)
    small = models.SmallIntegerField(null=True)
    text = models.TextField(null=True)
    time = models.TimeField(null=True)
    url = models.URLField(null=True)
    uid = models.UUIDField(null=True)
    doubled = models.GeneratedField(
        expression=models.F("integer") * 2, output_field=models.BigIntegerField(), db_persist=True
    )


class Author(models.Model):
    """A mixed-case table, mixed-case columns, a key that is a UUID."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=30, db_column="fullName")
    nick = models.CharField(max_length=30, db_column="select")
    born = models.DateField(null=True)

    class Meta:
        db_table = "shop Authors"
        constraints: ClassVar = [models.UniqueConstraint(Lower("nick"), name="Author_nick_lower")]


class Book(models.Model):
    """Foreign keys with each behaviour, and constraints of each kind."""

    id = models.AutoField(primary_key=True)
    title = models.CharField(max_length=60, db_index=True)
    shelf = models.SmallIntegerField(default=1)
    active = models.BooleanField(default=True)
    pages = models.IntegerField(default=1)
    main_author = models.ForeignKey(Author, models.PROTECT, related_name="main_books")
    editor = models.ForeignKey(Author, models.SET_NULL, null=True, related_name="edited")
    sequel_to = models.ForeignKey("self", models.CASCADE, null=True)
    authors = models.ManyToManyField(Author, through="Writing", related_name="books")
    tags = models.ManyToManyField("Tag")

    class Meta:
        unique_together: ClassVar = [("title", "shelf")]
        indexes: ClassVar = [
            models.Index(fields=["-pages", "title"], name="book_pages"),
            models.Index(models.F("shelf") + 1, name="book_shelf_next"),
            models.Index(fields=["title"], condition=models.Q(active=True), name="book_active"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["shelf"], condition=models.Q(pages=0), name="book_one_empty"),
            models.CheckConstraint(condition=models.Q(pages__gte=0) & ~models.Q(title=""), name="book_sane"),
        ]


class Writing(models.Model):
    """A relation with facts of its own."""

    author = models.ForeignKey(Author, models.CASCADE)
    book = models.ForeignKey(Book, models.CASCADE)
    since = models.DateTimeField()
    share = models.DecimalField(max_digits=5, decimal_places=4)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["author", "book"], name="writing_once")]


class Tag(models.Model):
    """A key that is text."""

    slug = models.SlugField(primary_key=True)
    parents = models.ManyToManyField("self", symmetrical=False)


class Profile(models.Model):
    """One to one, the key itself."""

    author = models.OneToOneField(Author, models.CASCADE, primary_key=True)
    settings = models.JSONField(default=dict)


class Special(Book):
    """Inherits a table: its key points to the parent's."""

    reason = models.TextField()


class Reading(models.Model):
    """A key of a kind that Django makes composite, and one that is a moment."""

    at = models.DateTimeField(primary_key=True)
    value = models.FloatField()


class Day(models.Model):
    """A key that is a date."""

    day = models.DateField(primary_key=True)
    note = models.CharField(max_length=10, unique=True, null=True)


class Line(models.Model):
    """A key of two columns."""

    pk = models.CompositePrimaryKey("invoice", "number")
    invoice = models.CharField(max_length=12)
    number = models.PositiveIntegerField()
    amount = models.DecimalField(max_digits=9, decimal_places=3)
