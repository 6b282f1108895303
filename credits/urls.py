"""Pages about credits."""

from django.urls import path

from credits import views

app_name = "credits"
urlpatterns = [
    path("statement", views.statement, name="statement"),
    path("statement/more", views.statement_more, name="statement_more"),
    path("statement.csv", views.statement_csv, name="statement_csv"),
]
