"""The models that staff may edit under /admin/."""

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin

from task_api.models import Task, User

admin.site.register(User, UserAdmin)


@admin.register(Task)
class TaskAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # Django has no subscript at run time
    """Tasks, newest first."""

    list_display = ["title", "done", "due", "created"]
    list_filter = ["done"]
    search_fields = ["title"]
