from django.contrib import admin
from django.urls import path

from notes.views import index, up

urlpatterns = [
    path('admin/', admin.site.urls),
    path('up/', up),
    path('', index),
]
